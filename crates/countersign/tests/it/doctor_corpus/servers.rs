//! The servers of the scenarios; each ends with the value, by its own id.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use countersign_testkit::ephemeral;

use crate::doctor_corpus::workshop::Workshop;
use crate::haproxy::HaProxy;
use crate::nginx::Nginx;

/// A program that runs until the value is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Answers connections in a thread until the value is dropped.
pub(crate) struct Listening {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes the accept; a refused connection means that nobody waits there.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Workshop {
    /// `openssl s_server -www` with these options, parted by blanks.
    pub(crate) fn s_server(&mut self, options: &str) -> SocketAddr {
        let address = ephemeral::address();
        let mut child = Command::new("openssl")
            .args(["s_server", "-www", "-accept", &address.to_string()])
            .args(options.split_whitespace())
            .current_dir(self.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(self.path("s_server.log")).expect("writable"))
            .spawn()
            .expect("openssl starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        self.keep(Running(child));
        let mut line = String::new();
        while !line.starts_with("ACCEPT") {
            line.clear();
            let read = output.read_line(&mut line).expect("openssl writes text");
            assert!(
                read > 0,
                "openssl s_server {options}: {}",
                self.read("s_server.log")
            );
        }
        // What is not read would stop it once the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        address
    }

    /// The usual mutual TLS, with these options besides.
    pub(crate) fn mutual_s_server(&mut self, options: &str) -> SocketAddr {
        self.s_server(&format!(
            "-cert server.leaf.pem -cert_chain issuing.pem -key server.key -CAfile root.pem -Verify 3 -verify_return_error {options}"
        ))
    }

    /// nginx with these server blocks; `ADDRESS` and `FOLDER` are filled in.
    pub(crate) fn nginx(&mut self, servers: &str) -> SocketAddr {
        let folder = self.path("");
        let nginx = Nginx::start(Path::new("/usr/sbin/nginx"), |address| {
            servers
                .replace("ADDRESS", &address.to_string())
                .replace("FOLDER/", &folder)
        });
        let address = nginx.address();
        self.keep(nginx);
        address
    }

    /// A server block of mutual TLS, with these directives besides, that answers everything with 200.
    pub(crate) fn mutual_nginx(&mut self, directives: &str) -> SocketAddr {
        self.nginx(&format!(
            "server {{ listen ADDRESS ssl; server_name localhost; ssl_certificate FOLDER/server.pem; \
             ssl_certificate_key FOLDER/server.key; ssl_client_certificate FOLDER/root.pem; ssl_verify_client on; \
             ssl_verify_depth 3; {directives} location / {{ return 200 ok; }} }}"
        ))
    }

    /// `HAProxy` with these proxies; `ADDRESS` and `FOLDER` are filled in.
    pub(crate) fn haproxy(&mut self, proxies: &str) -> SocketAddr {
        let folder = self.path("");
        let haproxy = HaProxy::start(Path::new("/usr/sbin/haproxy"), |address, _| {
            proxies
                .replace("ADDRESS", &address.to_string())
                .replace("FOLDER/", &folder)
        });
        let address = haproxy.address;
        self.keep(haproxy);
        address
    }

    /// `HAProxy` with `server.pem` and its key, these words on the bind line besides, that answers everything with 200.
    pub(crate) fn haproxy_bind(&mut self, words: &str) -> SocketAddr {
        self.join("server.both.pem", &["server.pem", "server.key"]);
        self.haproxy(&format!(
            "frontend f\n mode http\n bind ADDRESS ssl crt FOLDER/server.both.pem {words}\n http-request return status 200\n"
        ))
    }

    /// Apache with these virtual hosts; `ADDRESS` and `FOLDER` are filled in.
    pub(crate) fn apache(&mut self, hosts: &str) -> SocketAddr {
        let address = ephemeral::address();
        let folder = self.path("");
        let modules: String = ["mpm_event", "authz_core", "ssl", "socache_shmcb", "dir"]
            .map(|name| {
                format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n")
            })
            .concat();
        self.write("index.html", "ok\n");
        let hosts = hosts
            .replace("ADDRESS", &address.to_string())
            .replace("FOLDER/", &folder);
        let root = folder.trim_end_matches('/');
        self.write(
            "apache.conf",
            format!(
                "ServerRoot {root}\nServerName localhost\nPidFile {root}/apache.pid\nErrorLog {root}/apache.log\nListen {address}\n\
                 {modules}ServerLimit 1\nStartServers 1\nThreadsPerChild 25\nMaxRequestWorkers 25\nSSLSessionCache none\n\
                 DocumentRoot {root}\n{hosts}\n"
            ),
        );
        // Its parent drops to another user, whom the folder of a test lets in nowhere.
        self.mode("", 0o755);
        let child = Command::new("/usr/sbin/apache2")
            .args(["-D", "FOREGROUND", "-f", &self.path("apache.conf")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.path("apache.stderr")).expect("writable"))
            .spawn()
            .expect("apache2 starts");
        self.keep(Apache(child));
        let begun = Instant::now();
        // It tells nobody when it is ready; the first connection that is accepted does.
        while TcpStream::connect(address).is_err() {
            assert!(
                begun.elapsed() < HANG,
                "apache2 is not up: {}{}",
                self.read("apache.stderr"),
                fs::read_to_string(self.path("apache.log")).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        address
    }

    /// Every connection goes to `answer`, each in a thread of its own.
    pub(crate) fn listen(
        &mut self,
        answer: impl Fn(TcpStream) + Clone + Send + 'static,
    ) -> SocketAddr {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has free ports");
        let address = listener
            .local_addr()
            .expect("a bound socket has an address");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Acquire) {
                    return;
                }
                let answer = answer.clone();
                // A peer that never goes away shall not hold the thread for ever.
                let _ = stream.set_read_timeout(Some(HANG));
                std::thread::spawn(move || answer(stream));
            }
        });
        self.keep(Listening {
            address,
            stop,
            thread: Some(thread),
        });
        address
    }
}

/// Its workers are children of its own, which a killed parent would leave behind.
struct Apache(Child);

impl Drop for Apache {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let begun = Instant::now();
        while begun.elapsed() < HANG {
            if matches!(self.0.try_wait(), Ok(Some(_)) | Err(_)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Says `greeting`, then reads until the peer goes.
pub(crate) fn greet(mut stream: TcpStream, greeting: &str) {
    let _ = stream.write_all(greeting.as_bytes());
    read_out(stream);
}

/// Reads until the peer goes.
pub(crate) fn read_out(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

/// Waits for the first bytes, then closes over them: what lies unread makes the kernel send a reset.
pub(crate) fn reset(stream: TcpStream) {
    let _ = stream.peek(&mut [0]);
    drop(stream);
}

/// How what a server says gets to its client.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// As it comes.
    Whole,
    /// No more than so many bytes.
    Cut(usize),
    /// What it says behind its first flight arrives late.
    Late,
}

/// Carries bytes both ways.
pub(crate) fn carry(client: TcpStream, server: SocketAddr, flow: Flow) {
    let Ok(mut upstream) = TcpStream::connect(server) else {
        return;
    };
    let (Ok(mut from_client), Ok(mut to_server)) = (client.try_clone(), upstream.try_clone())
    else {
        return;
    };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let mut to_client = &client;
    let mut buffer = [0; 16384];
    let mut carried = 0;
    while let Ok(read @ 1..) = upstream.read(&mut buffer) {
        let passed = match flow {
            Flow::Whole => read,
            Flow::Cut(most) => read.min(most - carried),
            Flow::Late => {
                if carried > 0 {
                    std::thread::sleep(Duration::from_millis(1600));
                }
                read
            }
        };
        if to_client.write_all(&buffer[..passed]).is_err() {
            break;
        }
        carried += passed;
        if flow == Flow::Cut(carried) {
            // Says no more, and stays until the client goes.
            return read_out(client);
        }
    }
    let _ = client.shutdown(std::net::Shutdown::Both);
}

/// Only catches a hang.
const HANG: Duration = Duration::from_secs(20);
