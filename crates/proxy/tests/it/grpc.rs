//! gRPC through the gateway: tonic's client and its server, whose messages are text, so that nothing has to be generated.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, BufMut};
use countersign_diagnose::cause::Cause;
use countersign_testkit::bypass::Protocol;
use countersign_testkit::client::Client;
use countersign_testkit::ephemeral;
use countersign_testkit::pki::{Leaf, TestIdentity};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use http::uri::PathAndQuery;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::harness::{HOST, Harness};
use crate::http2::{post, soon};

#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        String::from_utf8(bytes.to_vec())
            .map(Some)
            .map_err(|_| Status::internal("no text"))
    }
}

type Texts = BoxStream<'static, Result<String, Status>>;

/// What became of calls that their server has no answer for.
#[derive(Debug, PartialEq, Eq)]
enum Event {
    /// The client's messages broke off.
    Broken,
    /// Nobody reads the answer any more.
    Dropped,
    /// A message came.
    Message(String),
}

/// A server of five methods.
struct EchoServer {
    address: SocketAddr,
    calls: Arc<AtomicUsize>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl EchoServer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        let address = listener.local_addr().expect("bound");
        let calls = Arc::new(AtomicUsize::new(0));
        let (told, events) = mpsc::unbounded_channel();
        let counter = Arc::clone(&calls);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (counter, told) = (Arc::clone(&counter), told.clone());
                let service = service_fn(move |request| {
                    counter.fetch_add(1, Ordering::SeqCst);
                    serve(request, told.clone())
                });
                tokio::spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self {
            address,
            calls,
            events,
        }
    }

    fn route(&self, keys: &str) -> String {
        format!(
            "upstream = \"http://{}\"\nupstream_protocol = \"h2\"\n{keys}\n",
            self.address
        )
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    async fn told(&mut self) -> Event {
        soon(self.events.recv()).await.expect("told")
    }
}

async fn serve(
    request: http::Request<Incoming>,
    told: mpsc::UnboundedSender<Event>,
) -> Result<http::Response<tonic::body::Body>, std::convert::Infallible> {
    let mut grpc = tonic::server::Grpc::new(Text);
    Ok(match request.uri().path() {
        "/echo.Echo/Unary" => grpc.unary(tower::service_fn(unary), request).await,
        "/echo.Echo/Split" => {
            grpc.server_streaming(tower::service_fn(split), request)
                .await
        }
        "/echo.Echo/Join" => {
            grpc.client_streaming(tower::service_fn(join), request)
                .await
        }
        "/echo.Echo/Both" => {
            let both = move |request| std::future::ready(Ok(both(request, told.clone())));
            grpc.streaming(tower::service_fn(both), request).await
        }
        _ => {
            let none = |_: Request<String>| async {
                Err::<Response<String>, _>(Status::unimplemented("no such method"))
            };
            grpc.unary(tower::service_fn(none), request).await
        }
    })
}

/// Says what it was told, who asked, and with what trailer.
async fn unary(request: Request<String>) -> Result<Response<String>, Status> {
    let who = request.metadata().get("x-forwarded-client-cert");
    let who = who.map_or("nobody", |who| who.to_str().unwrap_or("garbled"));
    if request.get_ref() == "fail" {
        let mut status = Status::resource_exhausted("no more: 100 % \u{e9}");
        status
            .metadata_mut()
            .insert("x-left", MetadataValue::from_static("0"));
        return Err(status);
    }
    if request.get_ref() == "wait" {
        std::future::pending::<()>().await;
    }
    Ok(Response::new(format!("{} {who}", request.get_ref())))
}

async fn split(request: Request<String>) -> Result<Response<Texts>, Status> {
    let words: Vec<_> = request
        .into_inner()
        .split(' ')
        .map(|word| match word {
            "fail" => Err(Status::aborted("in the middle")),
            word => Ok(word.to_owned()),
        })
        .collect();
    Ok(Response::new(stream::iter(words).boxed()))
}

async fn join(request: Request<Streaming<String>>) -> Result<Response<String>, Status> {
    let mut messages = request.into_inner();
    let mut words = Vec::new();
    while let Some(word) = messages.message().await? {
        words.push(word);
    }
    Ok(Response::new(words.join(" ")))
}

/// Sends each message back, and tells what became of the call.
fn both(
    request: Request<Streaming<String>>,
    told: mpsc::UnboundedSender<Event>,
) -> Response<Texts> {
    struct Call(mpsc::UnboundedSender<Event>);
    impl Drop for Call {
        fn drop(&mut self) {
            let _ = self.0.send(Event::Dropped);
        }
    }
    let call = Call(told);
    let echoed = request.into_inner().map(move |message| {
        let event = match &message {
            Ok(text) => Event::Message(text.clone()),
            Err(_) => Event::Broken,
        };
        let _ = call.0.send(event);
        message
    });
    Response::new(echoed.boxed())
}

async fn channel_of(gateway: &Harness, identity: Option<&TestIdentity>) -> Channel {
    let client = Client::new(gateway.ca.root.der(), identity, Protocol::Http2Tls13, HOST);
    let address = gateway.address();
    Endpoint::try_from(format!("https://{HOST}"))
        .expect("a URL")
        .connect_with_connector(tower::service_fn(move |_| {
            let client = client.clone();
            async move { client.connect(address).await.map(TokioIo::new) }
        }))
        .await
        .expect("a connection")
}

async fn caller_of(gateway: &Harness) -> Caller {
    Caller::of(channel_of(gateway, Some(&gateway.client)).await).await
}

/// A client of the five methods.
struct Caller(tonic::client::Grpc<Channel>);

impl Caller {
    async fn of(channel: Channel) -> Self {
        let mut grpc = tonic::client::Grpc::new(channel);
        grpc.ready().await.expect("ready");
        Self(grpc)
    }

    async fn unary(&mut self, text: &str) -> Result<String, Status> {
        self.call("/echo.Echo/Unary", Request::new(text.to_owned()))
            .await
    }

    async fn call(
        &mut self,
        path: &'static str,
        request: Request<String>,
    ) -> Result<String, Status> {
        self.0.ready().await.expect("ready");
        let path = PathAndQuery::from_static(path);
        let answer = soon(self.0.unary(request, path, Text)).await?;
        Ok(answer.into_inner())
    }

    async fn both(&mut self) -> (mpsc::UnboundedSender<String>, Streaming<String>) {
        let (send, messages) = mpsc::unbounded_channel();
        let messages = stream::unfold(messages, |mut messages| async move {
            Some((messages.recv().await?, messages))
        });
        // Without a message its server says nothing, not even a head.
        send.send("first".to_owned()).expect("open");
        self.0.ready().await.expect("ready");
        let path = PathAndQuery::from_static("/echo.Echo/Both");
        let answer = soon(self.0.streaming(Request::new(messages), path, Text)).await;
        let mut answer = answer.expect("an answer").into_inner();
        assert_eq!(
            soon(answer.message()).await.expect("open").as_deref(),
            Some("first")
        );
        (send, answer)
    }
}

async fn words(mut answer: Streaming<String>) -> (Vec<String>, Option<Status>) {
    let mut words = Vec::new();
    loop {
        match soon(answer.message()).await {
            Ok(Some(word)) => words.push(word),
            Ok(None) => return (words, None),
            Err(status) => return (words, Some(status)),
        }
    }
}

const ANY: &str = "allow = [\"any-trusted\"]";

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_every_kind_pass_with_identity_statuses_and_trailers() {
    let server = EchoServer::start().await;
    let gateway = Harness::start("", &server.route(ANY));
    let mut caller = caller_of(&gateway).await;
    let answer = caller.unary("hello").await.expect("an answer");
    assert!(
        answer.starts_with("hello ") && answer.contains("spiffe://example.com/order-service"),
        "{answer}"
    );

    let status = caller.unary("fail").await.expect_err("a status");
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "no more: 100 % \u{e9}");
    assert_eq!(status.metadata().get("x-left").expect("a trailer"), "0");

    for (text, expected, code) in [
        ("a b c", &["a", "b", "c"][..], None),
        ("a fail", &["a"], Some(Code::Aborted)),
        ("fail", &[], Some(Code::Aborted)),
    ] {
        caller.0.ready().await.expect("ready");
        let path = PathAndQuery::from_static("/echo.Echo/Split");
        let request = Request::new(text.to_owned());
        let answer = soon(caller.0.server_streaming(request, path, Text)).await;
        let (got, status) = match answer {
            Ok(answer) => words(answer.into_inner()).await,
            Err(status) => (Vec::new(), Some(status)),
        };
        assert_eq!(got, expected, "{text}");
        assert_eq!(status.map(|status| status.code()), code, "{text}");
    }

    caller.0.ready().await.expect("ready");
    let path = PathAndQuery::from_static("/echo.Echo/Join");
    let messages = stream::iter(["x", "y", "z"].map(ToOwned::to_owned));
    let answer = soon(
        caller
            .0
            .client_streaming(Request::new(messages), path, Text),
    )
    .await;
    assert_eq!(answer.expect("an answer").into_inner(), "x y z");

    let (send, mut answer) = caller.both().await;
    for word in ["one", "two", "three"] {
        send.send(word.to_owned()).expect("open");
        let echoed = soon(answer.message()).await.expect("open");
        assert_eq!(echoed.as_deref(), Some(word));
    }
    drop(send);
    assert_eq!(words(answer).await.0, Vec::<String>::new());
    assert!(gateway.refusals().is_empty());
}

/// A refusal as the client reads it: gRPC's code, and an id that leads to the cause.
fn check_refusal(gateway: &Harness, status: &Status, code: Code, cause: Cause) {
    assert_eq!(status.code(), code, "{status:?}");
    let (_, id) = (status.message().split_once("(refusal_id "))
        .unwrap_or_else(|| panic!("no id: {status:?}"));
    let id = id.trim_end_matches(')');
    let told = gateway.refusals();
    let told = (told.iter().find(|refusal| refusal.id.to_string() == id))
        .unwrap_or_else(|| panic!("{id} is not on record"));
    assert_eq!(told.refusal.cause, cause, "{told:?}");
    assert!(!status.message().contains("order-service"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_statuses_of_grpc_and_reach_no_upstream() {
    let server = EchoServer::start().await;
    let route = server.route(
        "allow = [{ cn = \"order-service\", path = \"/echo.Echo/Unary\" }, { cn = \"admin\" }]",
    );
    let gateway = Harness::start("client_certificate = \"request\"", &route);

    let mut anonymous = Caller::of(channel_of(&gateway, None).await).await;
    let status = anonymous.unary("hello").await.expect_err("refused");
    check_refusal(
        &gateway,
        &status,
        Code::Unauthenticated,
        Cause::ClientCertNotSent,
    );

    let other = gateway.ca.issue(Leaf::client("billing"));
    let mut other = Caller::of(channel_of(&gateway, Some(&other)).await).await;
    let status = other.unary("hello").await.expect_err("refused");
    check_refusal(
        &gateway,
        &status,
        Code::PermissionDenied,
        Cause::IdentityNotAllowed,
    );

    let mut caller = caller_of(&gateway).await;
    for path in ["/echo.Echo/Join", "/echo.Echo/unary", "/echo.Echo/Unary/"] {
        let status = caller
            .call(path, Request::new("hello".to_owned()))
            .await
            .expect_err("refused");
        check_refusal(
            &gateway,
            &status,
            Code::PermissionDenied,
            Cause::RequestNotAllowed,
        );
    }
    for path in ["/echo.Echo/../echo.Echo/Unary", "//echo.Echo/Unary"] {
        let status = caller
            .call(path, Request::new("hello".to_owned()))
            .await
            .expect_err("refused");
        check_refusal(&gateway, &status, Code::Internal, Cause::MalformedRequest);
    }
    assert_eq!(server.calls(), 0);
    caller.unary("hello").await.expect("admitted");
    assert_eq!(server.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_that_is_not_there_is_unavailable() {
    let route = format!(
        "upstream = \"http://{}\"\nupstream_protocol = \"h2\"\n{ANY}\n",
        ephemeral::address()
    );
    let gateway = Harness::start("", &route);
    let mut caller = caller_of(&gateway).await;
    let status = caller.unary("hello").await.expect_err("no answer");
    assert_eq!(status.code(), Code::Unavailable);
    assert!(!status.message().contains("127.0.0.1"), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_identity_does_not_pass_in_metadata() {
    let server = EchoServer::start().await;
    let gateway = Harness::start("", &server.route(ANY));
    let mut caller = caller_of(&gateway).await;
    let mut request = Request::new("hello".to_owned());
    request.metadata_mut().insert(
        "x-forwarded-client-cert",
        MetadataValue::from_static("URI=spiffe://example.com/admin"),
    );
    let answer = caller
        .call("/echo.Echo/Unary", request)
        .await
        .expect("an answer");
    assert!(
        !answer.contains("admin") && answer.contains("order-service"),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_gives_up_ends_the_call_at_the_server() {
    let mut server = EchoServer::start().await;
    let gateway = Harness::start("", &server.route(ANY));
    let mut caller = caller_of(&gateway).await;
    let mut request = Request::new("wait".to_owned());
    request.set_timeout(Duration::from_millis(100));
    let status = caller
        .call("/echo.Echo/Unary", request)
        .await
        .expect_err("late");
    assert!(
        matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded),
        "{status:?}"
    );

    let (send, answer) = caller.both().await;
    assert_eq!(server.told().await, Event::Message("first".to_owned()));
    drop((send, answer));
    loop {
        match server.told().await {
            Event::Dropped => break,
            Event::Broken => {}
            Event::Message(message) => panic!("{message}"),
        }
    }
    caller.unary("hello").await.expect("others go on");
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_streams_outlive_the_limits_for_answers_and_bodies() {
    let mut server = EchoServer::start().await;
    let gateway = Harness::start_within("idle_timeout = \"1s\"", &server.route(ANY), |bounds| {
        bounds.answer = Duration::from_millis(50);
        bounds.send = Duration::from_millis(200);
    });
    let mut caller = caller_of(&gateway).await;
    let (send, mut answer) = caller.both().await;
    assert_eq!(server.told().await, Event::Message("first".to_owned()));
    // Past every limit that could strike here.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    send.send("still".to_owned()).expect("open");
    let echoed = soon(answer.message()).await.expect("open");
    assert_eq!(echoed.as_deref(), Some("still"));
}

/// A call under way, ended by `withdraw`; both sides are told.
async fn check_cut<F: Future<Output = ()>>(withdraw: impl FnOnce(Harness) -> F) {
    let mut server = EchoServer::start().await;
    let gateway = Harness::start("", &server.route(ANY));
    let mut caller = caller_of(&gateway).await;
    let (send, mut answer) = caller.both().await;
    assert_eq!(server.told().await, Event::Message("first".to_owned()));
    withdraw(gateway).await;
    soon(answer.message()).await.expect_err("it is cut");
    loop {
        match server.told().await {
            Event::Dropped => break,
            Event::Broken => {}
            Event::Message(message) => panic!("{message}"),
        }
    }
    drop(send);
}

#[tokio::test(flavor = "multi_thread")]
async fn revocation_ends_a_stream_in_the_middle_and_its_server_sees_it() {
    check_cut(|gateway| async move {
        gateway.revoke(&gateway.client).await;
        std::mem::forget(gateway);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_that_is_gone_ends_a_stream_in_the_middle_and_its_server_sees_it() {
    check_cut(|gateway| async move {
        let nobody = "upstream = \"demo\"\nallow = [{ cn = \"nobody\" }]\n";
        let plan = gateway.plan("", nobody);
        soon(gateway.handle.reload(plan)).await.expect("reloads");
        std::mem::forget(gateway);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rule_that_is_gone_for_one_method_ends_its_stream_and_no_other_call() {
    let mut server = EchoServer::start().await;
    let gateway = Harness::start("", &server.route(ANY));
    let mut caller = caller_of(&gateway).await;
    let (send, mut answer) = caller.both().await;
    assert_eq!(server.told().await, Event::Message("first".to_owned()));
    let unary = "allow = [{ cn = \"order-service\", path = \"/echo.Echo/Unary\" }]";
    let plan = gateway.plan("", &server.route(unary));
    soon(gateway.handle.reload(plan)).await.expect("reloads");
    soon(answer.message()).await.expect_err("it is cut");
    // What the client goes on to send gets nowhere.
    let _ = send.send("second".to_owned());
    loop {
        match server.told().await {
            Event::Dropped => break,
            Event::Broken => {}
            Event::Message(message) => panic!("{message}"),
        }
    }
    caller.unary("hello").await.expect("the connection stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn server_is_held_back_by_a_client_that_does_not_read() {
    let mut server = EchoServer::start().await;
    let gateway = Harness::start("", &server.route(ANY));
    let mut caller = caller_of(&gateway).await;
    let (send, mut answer) = caller.both().await;
    let message = "m".repeat(64 * 1024);
    let count = 1000;
    for _ in 0..count {
        send.send(message.clone()).expect("open");
    }
    // Until nothing moves any more: what has come by then is what the windows and buffers on the way hold.
    let mut come = 0;
    while let Ok(Some(_)) =
        tokio::time::timeout(Duration::from_millis(500), server.events.recv()).await
    {
        come += 1;
    }
    assert!(come < count / 2, "{come} messages of 64 KiB are somewhere");
    for _ in 0..count {
        let echoed = soon(answer.message()).await.expect("open").expect("more");
        assert!(echoed == message);
    }
}

/// Who only says that it is a call has no more time than anybody else.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_by_every_sign_has_the_limits_of_a_request() {
    let service = crate::http2::Service::start(|_, _, mut answer| async move {
        let _ = std::future::poll_fn(|cx| answer.poll_reset(cx)).await;
    })
    .await;
    let gateway = Harness::start_within("", &service.route(), |bounds| {
        bounds.answer = Duration::from_millis(50);
    });
    let kind = "application/grpc";
    let mut sender = crate::http2::h2_client(&gateway).await;
    let get = http::Request::get(format!("https://{HOST}/a.B/C"));
    let get = get
        .header("content-type", kind)
        .body(())
        .expect("a request");
    let (answer, _) = sender.send_request(get, true).expect("open");
    let answer = soon(answer).await.expect("an answer");
    assert_eq!(answer.headers()["grpc-status"], "14");

    let mut stream = gateway.connect().await;
    let head = format!(
        "POST /a.B/C HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: {kind}\r\ncontent-length: 0\r\n\r\n"
    );
    tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes())
        .await
        .expect("open");
    let text = soon(crate::forwarding::read_until(&mut stream, "\r\n\r\n")).await;
    assert!(text.contains("grpc-status: 14"), "{text}");

    // A call by every sign waits for as long as it likes: twenty times the limit tells it from the others.
    let mut call = post("/a.B/C");
    let kind = http::HeaderValue::from_static(kind);
    call.headers_mut().insert("content-type", kind);
    let (answer, _body) = sender.send_request(call, false).expect("open");
    assert!(
        tokio::time::timeout(Duration::from_secs(1), answer)
            .await
            .is_err()
    );
}
