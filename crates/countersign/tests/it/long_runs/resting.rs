//! Connections that rest. Processes of their own hold them, as many as it takes: one may have only so many open files.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use countersign_runtime::descriptors::raise_descriptor_limit;
use countersign_testkit::bypass::Protocol;

use super::{PROGRESS, asked, connect_from};
use crate::installation::{Issued, text};

/// So many connections a process of this limit can have, beside what else it has open.
pub(super) fn most_in_one_process() -> usize {
    let limit = raise_descriptor_limit().expect("may be raised");
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_sub(2000)
            .max(1)
    })
}

/// A process that holds connections.
pub(super) struct Resting {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Resting {
    /// All of these, as soon as it returns.
    pub(super) fn start(numbers: Range<usize>, you: &Issued, gateway: SocketAddr) -> Self {
        let range = format!("{} {} {gateway}", numbers.start, numbers.end);
        let mut child = Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", "long_runs::resting::connections_rest"])
            .args(["--ignored", "--nocapture"])
            .env(TASK, format!("{range} {}", text(you.folder())))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let stdin = child.stdin.take().expect("piped");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut resting = Self {
            child,
            stdin,
            stdout,
        };
        resting.wait_for(HELD);
        resting
    }

    /// Insists that they were left alone: some of each are answered.
    pub(super) fn assert_alive(mut self) {
        self.stdin.write_all(b"\n").expect("it waits");
        self.wait_for(ALIVE);
    }

    fn wait_for(&mut self, word: &str) {
        let mut line = String::new();
        while line.trim_end() != word {
            line.clear();
            let length = self.stdout.read_line(&mut line).expect("text");
            assert!(length > 0, "it ended before it said {word:?}");
            print!("{line}");
        }
    }
}

impl Drop for Resting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
#[ignore = "part of another test, in a process of its own"]
async fn connections_rest() {
    let task = std::env::var(TASK).expect("what is to be held");
    let words: Vec<&str> = task.splitn(4, ' ').collect();
    let [from, to, gateway, folder] = words[..] else {
        panic!("{task:?}");
    };
    let (from, to): (usize, usize) = (from.parse().expect("from"), to.parse().expect("to"));
    let gateway: SocketAddr = gateway.parse().expect("an address");
    raise_descriptor_limit().expect("may be raised");
    let client = Issued::at(PathBuf::from(folder)).client(Protocol::Http1Tls13);
    let mut resting = Vec::with_capacity(to - from);
    for number in from..to {
        // 15 of each network: below its rate, however fast they come.
        let network = u32::try_from(number / 15).expect("few");
        let host = u32::try_from(number % 15).expect("few") + 1;
        let source = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 16, 0, 0)) + network * 256 + host);
        let stream = connect_from(source, &client, gateway).await;
        resting.push(stream.unwrap_or_else(|error| panic!("{source}: {error}")));
        if resting.len() % (PROGRESS * 10) == 0 {
            println!("{} of {} connections", resting.len(), to - from);
        }
    }
    // A line of its own: the harness has begun one.
    println!("\n{HELD}");
    let waiting = || std::io::stdin().read_line(&mut String::new());
    let length = tokio::task::spawn_blocking(waiting)
        .await
        .expect("no panic");
    assert!(
        length.is_ok_and(|length| length > 0),
        "whoever started it is gone"
    );
    let step = (resting.len() / 50).max(1);
    for stream in resting.iter_mut().step_by(step) {
        asked(stream).await.expect("it was left alone");
    }
    println!("{ALIVE}");
}

/// `FROM TO GATEWAY FOLDER`.
const TASK: &str = "COUNTERSIGN_TEST_RESTING";
const HELD: &str = "held";
const ALIVE: &str = "alive";
