//! The admin socket.

use std::fs;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::time::Duration;

use countersign_authority::admin::{bind_socket, router, serve};
use countersign_authority::api::{self, StatusResponse};
use countersign_authority::client::{AdminClient, ClientError};
use countersign_runtime::drain::drain;

use crate::fixture::{Fixture, Folder};

#[tokio::test]
async fn socket_serves_its_own_user_and_ends_with_the_drain() {
    let fixture = Fixture::new();
    let other = Folder::new();
    let lock = other.state().lock().expect("locks");
    let path = other.state().socket();
    let listener = bind_socket(&path, &lock).expect("binds");
    let (trigger, drain) = drain();
    let served = tokio::spawn(serve(listener, router(fixture.authority.clone()), drain));

    let client = AdminClient::socket(&path);
    let status: StatusResponse = client.get(api::STATUS).await.expect("answers");
    assert_eq!(status.trust_domain, "countersign.internal");
    let missing = client.get::<StatusResponse>("/v1/nowhere").await;
    assert!(matches!(missing, Err(ClientError::Refused { problem }) if problem.status == 404));

    // An idle keep-alive connection does not hold the drain up.
    let _idle = tokio::net::UnixStream::connect(&path)
        .await
        .expect("connects");
    assert!(trigger.drain(Duration::from_secs(30)).await.finished);
    served.await.expect("ends");
    assert!(matches!(
        client.get::<StatusResponse>(api::STATUS).await,
        Err(ClientError::NotRunning { .. })
    ));
}

#[tokio::test]
async fn socket_is_the_owners_alone_and_replaces_a_dead_one() {
    let folder = Folder::new();
    let lock = folder.state().lock().expect("locks");
    let path = folder.state().socket();
    for _ in 0..2 {
        let listener = bind_socket(&path, &lock).expect("binds");
        let metadata = fs::symlink_metadata(&path).expect("exists");
        assert!(metadata.file_type().is_socket());
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        drop(listener);
        assert!(path.exists(), "a dead socket stays until the next one");
    }
    assert_eq!(
        fs::read_dir(&folder.path).expect("lists").count(),
        2,
        "lock and socket"
    );
}

#[tokio::test]
async fn nobody_behind_the_socket_is_said_so() {
    let folder = Folder::new();
    let error = AdminClient::socket(&folder.state().socket())
        .get::<StatusResponse>(api::STATUS)
        .await
        .expect_err("nobody");
    assert!(matches!(error, ClientError::NotRunning { .. }), "{error}");
    assert!(error.hint().is_some());
}
