//! The real binary as a process: started, awaited, listened to, and ended by its id.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running `countersign up` or `run`; killed when dropped.
pub struct Process {
    child: Child,
    ready: Value,
    log: Arc<Log>,
}

/// The lines of standard error, as they come.
#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    grown: Condvar,
}

impl Process {
    /// Starts `binary arguments… --json` and waits for its ready line.
    pub fn start(binary: &Path, arguments: &[&str]) -> Self {
        Self::try_start(binary, arguments)
            .unwrap_or_else(|log| panic!("it ended before it was ready:\n{log}"))
    }

    /// The same; what it wrote to standard error if it ends first.
    pub fn try_start(binary: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mut command = Command::new(binary);
        command.args(arguments).arg("--json");
        Self::try_start_as(command)
    }

    /// What starts the binary, with `--json`, in the process that it is given or makes.
    pub fn try_start_as(mut command: Command) -> Result<Self, String> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let log = Arc::new(Log::default());
        let (memory, stderr) = (log.clone(), child.stderr.take().expect("piped"));
        std::thread::spawn(move || memory.fill(stderr));
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        let _ = stdout.read_line(&mut line);
        let Ok(ready) = serde_json::from_str::<Value>(&line) else {
            let _ = child.wait();
            return Err(format!("{line}{}", log.all_when_ended()));
        };
        // Whatever else it prints must not block it.
        std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        Ok(Self { child, ready, log })
    }

    /// The ready line.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// A text field of the ready line.
    pub fn field(&self, name: &str) -> &str {
        self.ready[name]
            .as_str()
            .unwrap_or_else(|| panic!("the ready line has {name}: {}", self.ready))
    }

    /// A path in the ready line.
    pub fn path(&self, name: &str) -> PathBuf {
        self.field(name).into()
    }

    /// Where the gateway listens.
    pub fn gateway(&self) -> SocketAddr {
        self.field("gateway").parse().expect("an address")
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until a line of standard error has every one of `words`.
    pub fn wait_for_log(&self, words: &[&str]) -> String {
        self.log
            .wait_for(words)
            .unwrap_or_else(|lines| panic!("no line with {words:?} in:\n{lines}"))
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        self.log.locked().0.join("\n")
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        let _ = kill_process(pid, signal);
    }

    /// Ends it with SIGINT and waits.
    pub fn interrupt(mut self) -> ExitStatus {
        self.signal(Signal::INT);
        self.child.wait().expect("our child")
    }

    /// Waits for its end, which somebody else has brought about.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().expect("our child")
    }

    /// Ends it with SIGKILL and waits.
    pub fn kill(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.all_when_ended();
            eprintln!("process {} of the failed test logged:\n{log}", self.id());
        }
    }
}

/// Runs `binary arguments…` to its end.
pub fn run(binary: &Path, arguments: &[&str]) -> Output {
    Command::new(binary)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

/// Runs it, insists on exit code 0, and gives its standard output.
pub fn run_ok(binary: &Path, arguments: &[&str]) -> String {
    let output = run(binary, arguments);
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "{arguments:?} ended with {}\n{out}\n{err}",
        output.status
    );
    out.into_owned()
}

impl Log {
    fn locked(&self) -> MutexGuard<'_, (Vec<String>, bool)> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, stderr: impl Read) {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            self.locked().0.push(line);
            self.grown.notify_all();
        }
        self.locked().1 = true;
        self.grown.notify_all();
    }

    fn wait_for(&self, words: &[&str]) -> Result<String, String> {
        let mut lines = self.locked();
        loop {
            if let Some(line) = lines
                .0
                .iter()
                .find(|line| words.iter().all(|word| line.contains(word)))
            {
                return Ok(line.clone());
            }
            let (next, timeout) = self
                .grown
                .wait_timeout(lines, HANG)
                .unwrap_or_else(PoisonError::into_inner);
            lines = next;
            if timeout.timed_out() || lines.1 {
                let found = lines
                    .0
                    .iter()
                    .find(|line| words.iter().all(|word| line.contains(word)))
                    .cloned();
                return found.ok_or_else(|| lines.0.join("\n"));
            }
        }
    }

    fn all_when_ended(&self) -> String {
        let mut lines = self.locked();
        while !lines.1 {
            let (next, timeout) = self
                .grown
                .wait_timeout(lines, HANG)
                .unwrap_or_else(PoisonError::into_inner);
            lines = next;
            if timeout.timed_out() {
                break;
            }
        }
        lines.0.join("\n")
    }
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
