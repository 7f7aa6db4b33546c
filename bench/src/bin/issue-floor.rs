//! The least that could pass for an authority: what HTTP, JSON, SQLite and the signature take together, without policy,
//! names, lint, inventory, audit log or anything else that makes it one. Prints when it listens; ends with its standard input.
//!
//! As invariant 4 wants it: a durable intent before the signature, the durable certificate before the answer, each fsynced
//! with its group. One table each, one key, no other index.
use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc;
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use tokio::task::LocalSet;

/// One row of one transaction; answered when it is on disk.
struct Write {
    row: Row,
    done: oneshot::Sender<()>,
}

enum Row {
    Intent { id: i64, der: Vec<u8> },
    Certificate { id: i64, der: Vec<u8> },
}

struct Floor {
    issuer: Issuer<'static, KeyPair>,
    writer: mpsc::Sender<Write>,
    next: std::cell::Cell<i64>,
}

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os()
        .nth(1)
        .context("usage: issue-floor DIR")?
        .into();
    ensure!(!folder.exists(), "{} exists already", folder.display());
    std::fs::create_dir(&folder)?;
    let (writer, writes) = mpsc::channel();
    let sql = Connection::open(folder.join("floor.db"))?;
    sql.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 8192;
         CREATE TABLE intent (id INTEGER PRIMARY KEY, der BLOB NOT NULL) STRICT;
         CREATE TABLE certificate (id INTEGER PRIMARY KEY, der BLOB NOT NULL) STRICT;",
    )?;
    std::thread::spawn(move || write_groups(&sql, &writes));
    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::new(Vec::new())?;
    authority
        .distinguished_name
        .push(DnType::CommonName, "Bench Floor");
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let floor = Rc::new(Floor {
        issuer: Issuer::new(authority, key),
        writer,
        next: 1.into(),
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, serve(folder.join("admin.sock"), floor))
}

/// Whatever came while the last group was written is the next.
fn write_groups(sql: &Connection, writes: &mpsc::Receiver<Write>) {
    while let Ok(first) = writes.recv() {
        let group: Vec<Write> = std::iter::once(first).chain(writes.try_iter()).collect();
        write(sql, &group).expect("the disk takes it");
        for written in group {
            // Whoever has hung up needs no answer.
            let _ = written.done.send(());
        }
    }
}

fn write(sql: &Connection, group: &[Write]) -> rusqlite::Result<()> {
    sql.execute_batch("BEGIN IMMEDIATE")?;
    for Write { row, .. } in group {
        match row {
            Row::Intent { id, der } => {
                sql.prepare_cached("INSERT INTO intent VALUES (?1, ?2)")?
                    .execute((id, der))?;
            }
            Row::Certificate { id, der } => {
                sql.prepare_cached("INSERT INTO certificate VALUES (?1, ?2)")?
                    .execute((id, der))?;
                sql.prepare_cached("DELETE FROM intent WHERE id = ?1")?
                    .execute([id])?;
            }
        }
    }
    sql.execute_batch("COMMIT")
}

async fn serve(socket: PathBuf, floor: Rc<Floor>) -> Result<()> {
    let listener = UnixListener::bind(&socket)?;
    println!("{}", json!({ "event": "ready" }));
    let (ended, mut end) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        drop(ended);
    });
    loop {
        let stream = tokio::select! {
            _ = &mut end => return Ok(()),
            accepted = listener.accept() => accepted?.0,
        };
        let floor = Rc::clone(&floor);
        tokio::task::spawn_local(async move {
            let service = service_fn(|request| issue(Rc::clone(&floor), request));
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn issue(floor: Rc<Floor>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
    let body = request.into_body().collect().await?.to_bytes();
    let asked: Value = serde_json::from_slice(&body)?;
    let csr = asked["csr"].as_str().context("no csr")?;
    let mut request = CertificateSigningRequestParams::from_pem(csr)?;
    request.params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    request.params.use_authority_key_identifier_extension = true;
    let id = floor.next.replace(floor.next.get() + 1);
    // Its length is that of the bytes to be signed, near enough.
    let der = body.to_vec();
    floor.durable(Row::Intent { id, der }).await?;
    let certificate = request.signed_by(&floor.issuer)?;
    let der = certificate.der().to_vec();
    floor.durable(Row::Certificate { id, der }).await?;
    let answer = json!({ "chain_pem": certificate.pem() }).to_string();
    Ok(Response::new(Full::new(answer.into())))
}

impl Floor {
    async fn durable(&self, row: Row) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        self.writer
            .send(Write { row, done })
            .ok()
            .context("the writer is gone")?;
        Ok(is_done.await?)
    }
}
