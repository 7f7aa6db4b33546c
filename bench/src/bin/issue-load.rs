//! Load generator for certificate authorities: certificate requests in, certificates out, over HTTP/1.1 on a socket of the
//! file system or of loopback. One thread, bounded in time and count, JSON on stdout. `limit` measures what the machine
//! could do at best.
use anyhow::{Context, Result, bail, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use countersign_bench::http1::Reader;
use countersign_bench::procstat::self_cpu_s;
use countersign_bench::stats::{Window, latency_histogram, percentiles};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::json;
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::LocalSet;

#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    mode: Mode,
}

#[derive(Subcommand)]
enum Mode {
    /// Makes certificate requests, each with a P-256 key of its own, as lines of PEM with `\n` for line ends.
    Requests {
        #[arg(long, default_value_t = 20_000)]
        count: usize,
        #[arg(long)]
        out: PathBuf,
    },
    /// Asks an authority for certificates, each request once.
    Load {
        #[arg(long)]
        api: Api,
        /// `unix:PATH` or a loopback address.
        #[arg(long)]
        to: String,
        /// Made by `requests`.
        #[arg(long)]
        requests: PathBuf,
        /// Leaves out so many of them, which another run has used.
        #[arg(long, default_value_t = 0)]
        skip: usize,
        #[arg(long, default_value_t = 256)]
        concurrency: usize,
        #[arg(long, default_value_t = 5.0)]
        seconds: f64,
        /// Server process whose tree's CPU time is reported.
        #[arg(long)]
        pid: Option<u32>,
    },
    /// The raw bound: parse a request, check its proof of possession, sign a P-256 leaf.
    Limit,
}

#[derive(Clone, Copy, ValueEnum)]
enum Api {
    Countersign,
    Cfssl,
}

impl Api {
    fn message(self, number: usize, csr: &str) -> String {
        let (path, body) = match self {
            Self::Countersign => (
                "/v1/issue",
                json!({ "profile": "client", "name": format!("load-{number}"), "csr": csr }),
            ),
            Self::Cfssl => (
                "/api/v1/cfssl/sign",
                json!({ "certificate_request": csr, "hosts": [format!("load-{number}.bench.local")] }),
            ),
        };
        let body = body.to_string();
        format!(
            "POST {path} HTTP/1.1\r\nHost: authority\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn main() -> Result<()> {
    match Args::parse().mode {
        Mode::Requests { count, out } => make_requests(count, &out),
        Mode::Limit => limit(),
        mode @ Mode::Load { .. } => {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            LocalSet::new().block_on(&runtime, load(mode))
        }
    }
}

fn make_requests(count: usize, out: &PathBuf) -> Result<()> {
    ensure!(count <= 1_000_000, "at most a million requests");
    let params = CertificateParams::new(Vec::new())?;
    let mut lines = String::new();
    for _ in 0..count {
        let csr = params.serialize_request(&KeyPair::generate()?)?.pem()?;
        lines.push_str(&csr.replace("\r\n", "\n").replace('\n', "\\n"));
        lines.push('\n');
    }
    std::fs::write(out, lines)?;
    Ok(())
}

async fn load(mode: Mode) -> Result<()> {
    let Mode::Load {
        api,
        to,
        requests,
        skip,
        concurrency,
        seconds,
        pid,
    } = mode
    else {
        bail!("no load");
    };
    ensure!((1..=512).contains(&concurrency), "1 to 512 at once");
    ensure!((0.1..=120.0).contains(&seconds), "0.1 to 120 seconds");
    let text = std::fs::read_to_string(&requests)
        .with_context(|| format!("cannot read {}", requests.display()))?;
    let messages: Rc<Vec<String>> = Rc::new(
        text.lines()
            .enumerate()
            .skip(skip)
            .map(|(number, csr)| api.message(number, &csr.replace("\\n", "\n")))
            .collect(),
    );
    drop(text);
    let next = Rc::new(Cell::new(0));
    let histogram = Rc::new(RefCell::new(latency_histogram()));
    let errors = Rc::new(RefCell::new(Vec::<String>::new()));
    let window = Window::open(pid);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut asking = Vec::new();
    for _ in 0..concurrency {
        let worker = Worker {
            messages: Rc::clone(&messages),
            next: Rc::clone(&next),
            histogram: Rc::clone(&histogram),
            errors: Rc::clone(&errors),
            until,
        };
        let to = to.clone();
        asking.push(tokio::task::spawn_local(async move {
            let errors = Rc::clone(&worker.errors);
            if let Err(error) = worker.run(&to).await {
                errors.borrow_mut().push(error.to_string());
            }
        }));
    }
    for task in asking {
        task.await?;
    }
    let histogram = histogram.borrow();
    let mut line = window.close(histogram.len() as f64);
    line["issued"] = json!(histogram.len());
    line["asked"] = json!(next.get().min(messages.len()));
    line["ran_out"] = json!(next.get() > messages.len());
    line["latency"] = percentiles(&histogram);
    line["errors"] = json!(errors.borrow().len());
    if let Some(first) = errors.borrow().first() {
        line["first_error"] = json!(first);
    }
    println!("{line}");
    Ok(())
}

struct Worker {
    messages: Rc<Vec<String>>,
    next: Rc<Cell<usize>>,
    histogram: Rc<RefCell<hdrhistogram::Histogram<u64>>>,
    errors: Rc<RefCell<Vec<String>>>,
    until: Instant,
}

impl Worker {
    async fn run(self, to: &str) -> Result<()> {
        match to.strip_prefix("unix:") {
            Some(path) => self.ask(UnixStream::connect(path).await?).await,
            None => {
                let address: SocketAddr = to.parse()?;
                ensure!(address.ip().is_loopback(), "{address} is not loopback");
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                self.ask(stream).await
            }
        }
    }

    async fn ask(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<()> {
        let mut reader = Reader::new(16 * 1024);
        while Instant::now() < self.until {
            let number = self.next.replace(self.next.get() + 1);
            let Some(message) = self.messages.get(number) else {
                return Ok(());
            };
            let asked = Instant::now();
            stream.write_all(message.as_bytes()).await?;
            let head = reader.head(&mut stream).await?.context("closed")?;
            reader.skip_body(&mut stream, &head, |_| ()).await?;
            if head.status == 200 {
                let nanoseconds = u64::try_from(asked.elapsed().as_nanos())?;
                self.histogram.borrow_mut().saturating_record(nanoseconds);
            } else {
                self.errors
                    .borrow_mut()
                    .push(format!("status {}", head.status));
            }
        }
        Ok(())
    }
}

fn limit() -> Result<()> {
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "Bench Intermediate");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let issuer = Issuer::new(authority, key);
    let csr = CertificateParams::new(vec!["client.bench.local".to_owned()])?
        .serialize_request(&KeyPair::generate()?)?;
    let der = csr.der().clone();
    let one = || -> Result<()> {
        let mut request = CertificateSigningRequestParams::from_der(&der)?;
        request.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.params.use_authority_key_identifier_extension = true;
        black_box(request.signed_by(&issuer)?);
        Ok(())
    };
    for _ in 0..WARM_UP {
        one()?;
    }
    let before = self_cpu_s();
    for _ in 0..ROUNDS {
        one()?;
    }
    let each_us = (self_cpu_s() - before) * 1e6 / f64::from(ROUNDS);
    println!(
        "{}",
        json!({ "cpu_us": each_us, "per_core_second": 1e6 / each_us })
    );
    Ok(())
}

const WARM_UP: u32 = 200;
const ROUNDS: u32 = 4000;
