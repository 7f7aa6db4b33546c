//! Servers that speak plaintext, first or for good, and those that nobody reaches.

use std::net::TcpListener;

use countersign_diagnose::cause::Cause;
use countersign_diagnose::doctor::question::Starttls;
use countersign_testkit::service::Service;

use crate::world::World;

fn greets(greeting: &'static [u8]) -> Service {
    Service::start(move |mut conversation| {
        conversation.send(greeting);
        while conversation.line().is_some() {}
    })
}

#[tokio::test]
async fn who_greets_in_plaintext_is_not_tls() {
    let world = World::new();
    for greeting in [
        &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..],
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"\x1b[2Jhello\r\n",
    ] {
        let service = greets(greeting);
        let (_, diagnosis) = world
            .asks(service.address())
            .check(Some(Cause::PeerNotTls))
            .await;
        assert!(!diagnosis.findings[0].message().contains('\x1b'));
    }
}

#[tokio::test]
async fn greeting_of_a_protocol_that_has_a_command_for_tls_wants_starttls_and_takes_no_time() {
    let world = World::new();
    for (greeting, protocol) in [
        (&b"220 mail.example ESMTP\r\n"[..], "smtp"),
        (b"220 files.example FTP server ready\r\n", "ftp"),
        (b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n", "imap"),
        (b"+OK POP3 ready\r\n", "pop3"),
        (b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0abcdefgh\0", "mysql"),
        (
            b"<?xml version='1.0'?><stream:stream><stream:error/>",
            "xmpp",
        ),
    ] {
        let service = greets(greeting);
        let (seen, diagnosis) = world
            .asks(service.address())
            .check(Some(Cause::StarttlsRequired))
            .await;
        let found = &diagnosis.findings[0];
        assert!(
            found.message().contains(&format!("speaks {protocol} ")),
            "{}",
            found.message()
        );
        assert!(
            seen.took.as_millis() < 2000,
            "{}",
            crate::world::told(&seen)
        );
    }
}

#[tokio::test]
async fn who_greets_and_refuses_the_command_is_not_tls() {
    let world = World::new();
    let smtp = &b"220 mail.example ESMTP\r\n"[..];
    let hello = &b"250 mail.example\r\n"[..];
    let no = &b"502 no\r\n"[..];
    for (greeting, answers, cause) in [
        (smtp, [hello, no], Cause::PeerNotTls),
        (
            b"* OK IMAP4rev1 ready\r\n",
            [b"a1 NO\r\n"; 2],
            Cause::PeerNotTls,
        ),
        (b"+OK POP3 ready\r\n", [b"-ERR\r\n"; 2], Cause::PeerNotTls),
        // Whoever does not know EHLO was not asked for TLS yet.
        (smtp, [no, no], Cause::StarttlsRequired),
    ] {
        let service = Service::start(move |mut conversation| {
            conversation.send(greeting);
            for answer in answers {
                if conversation.line().is_none() {
                    return;
                }
                conversation.send(answer);
            }
        });
        world.asks(service.address()).check(Some(cause)).await;
    }
}

#[tokio::test]
async fn who_waits_for_its_own_request_wants_starttls_if_it_takes_it() {
    let world = World::new();
    let ldap = &b"\x30\x15\x02\x01\x00\x78\x10\x0a\x01\x02\x04\x00\x04\x09bad bytes"[..];
    let postgres = &b"E\0\0\0\x10SFATAL\0C08P01\0\0"[..];
    let yes_of_ldap = &b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"[..];
    let no_of_ldap = &b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"[..];
    for (to_hello, answer, cause) in [
        (&b""[..], &b"S"[..], Cause::StarttlsRequired),
        (b"", b"N", Cause::PeerNotTls),
        (postgres, b"S", Cause::StarttlsRequired),
        (postgres, b"N", Cause::PeerNotTls),
        (ldap, yes_of_ldap, Cause::StarttlsRequired),
        (ldap, no_of_ldap, Cause::PeerNotTls),
    ] {
        let service = Service::start(move |mut conversation| {
            let begins_with = conversation.bytes(8).unwrap_or_default();
            match begins_with.first() {
                Some(0 | 0x30) => {
                    conversation.send(answer);
                    conversation.bytes(40);
                }
                _ => {
                    conversation.send(to_hello);
                }
            }
        });
        world.asks(service.address()).check(Some(cause)).await;
    }
}

#[tokio::test]
async fn mail_that_starts_tls_when_asked_wants_starttls() {
    let world = World::new();
    let service = Service::start(|mut conversation| {
        conversation.send(b"220 mail.example ESMTP\r\n");
        while let Some(line) = conversation.line() {
            if line.starts_with("EHLO") {
                conversation.send(b"250-mail.example\r\n250 STARTTLS\r\n");
            } else if line == "STARTTLS" {
                conversation.send(b"220 go ahead\r\n");
                conversation.send(SERVER_HELLO_AND_ALERT);
                return;
            }
        }
    });
    world
        .asks(service.address())
        .check(Some(Cause::StarttlsRequired))
        .await;
}

#[tokio::test]
async fn who_refuses_to_start_tls_is_not_tls() {
    let world = World::new();
    let service = Service::start(|mut conversation| {
        conversation.send(b"220 mail.example ESMTP\r\n");
        while conversation.line().is_some() {
            conversation.send(b"502 no\r\n");
        }
    });
    let asked = world
        .asks(service.address())
        .question(|question| question.starttls = Some(Starttls::Smtp));
    asked.check(Some(Cause::PeerNotTls)).await;
}

#[tokio::test]
async fn nobody_at_an_address_is_told_with_it() {
    let world = World::new();
    let address = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let (_, diagnosis) = world
        .asks(address)
        .check(Some(Cause::ConnectionRefused))
        .await;
    assert!(
        diagnosis.findings[0]
            .message()
            .contains("refuses connections")
    );
}

#[tokio::test]
async fn name_of_nobody_is_told() {
    let world = World::new();
    world
        .asks_for("nobody.invalid:443")
        .check(Some(Cause::NameNotResolved))
        .await;
}

#[tokio::test]
async fn who_closes_at_the_hello_is_told_from_who_is_silent() {
    let world = World::new();
    let closes = Service::start(|mut conversation| {
        conversation.bytes(16);
    });
    world
        .asks(closes.address())
        .check(Some(Cause::ResetBeforeServerHello))
        .await;
    let silent = Service::start(|mut conversation| while conversation.bytes(1).is_some() {});
    world
        .asks(silent.address())
        .check(Some(Cause::NoTlsAnswer))
        .await;
}

/// Of TLS 1.2 with `TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256`, then `handshake_failure`.
const SERVER_HELLO_AND_ALERT: &[u8] = &[
    22, 3, 3, 0, 49, 2, 0, 0, 45, 3, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0xc0, 0x2b, 0, 0, 5, 0xff, 1, 0, 1, 0, 21, 3, 3, 0, 2,
    2, 40,
];

/// What a server says, and what it waits for in between; then it speaks TLS.
async fn check_dialogue(starttls: Starttls, steps: &'static [(&'static [u8], &'static [u8])]) {
    let world = World::new();
    let service = Service::start(move |mut conversation| {
        for (says, hears) in steps {
            conversation.send(says);
            let heard = conversation.bytes(hears.len()).unwrap_or_default();
            if heard != *hears {
                return;
            }
        }
        conversation.send(SERVER_HELLO_AND_ALERT);
    });
    let asked = world
        .asks(service.address())
        .question(|question| question.starttls = Some(starttls));
    let (seen, _) = asked.look().await;
    assert!(
        seen.attempts[0].hello.is_some(),
        "{starttls:?}\n{}",
        crate::world::told(&seen)
    );
}

#[tokio::test]
async fn each_protocol_is_brought_to_tls_in_its_own_words() {
    check_dialogue(
        Starttls::Imap,
        &[
            (b"* OK ready\r\n", b"a1 STARTTLS\r\n"),
            (b"a1 OK begin\r\n", b"\x16"),
        ],
    )
    .await;
    check_dialogue(
        Starttls::Pop3,
        &[(b"+OK ready\r\n", b"STLS\r\n"), (b"+OK begin\r\n", b"\x16")],
    )
    .await;
    check_dialogue(
        Starttls::Ftp,
        &[
            (b"220-hello\r\n220 FTP\r\n", b"AUTH TLS\r\n"),
            (b"234 go\r\n", b"\x16"),
        ],
    )
    .await;
    check_dialogue(
        Starttls::Postgres,
        &[(b"", &[0, 0, 0, 8, 4, 210, 22, 47]), (b"S", b"\x16")],
    )
    .await;
    check_dialogue(
        Starttls::Ldap,
        &[
            (
                b"",
                b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037",
            ),
            (
                b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00",
                b"\x16",
            ),
        ],
    )
    .await;
    check_dialogue(
        Starttls::Xmpp,
        &[
            (b"", b"<?xml version='1.0'?><stream:stream xmlns='jabber:client'"),
            (b"<stream:stream><stream:features><starttls/></stream:features>", b" xmlns:stream='http://etherx.jabber.org/streams' to='localhost' version='1.0'><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"),
            (b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", b"\x16"),
        ],
    )
    .await;
    check_dialogue(
        Starttls::Mysql,
        &[(b"\x1b\x00\x00\x00\x0a8.0.1\x00\x01\x00\x00\x0012345678\x00\xff\xff\x21\x00\x00\x00\x00", b"\x20\x00\x00\x01")],
    )
    .await;
}

#[tokio::test]
async fn protocol_that_takes_no_tls_is_told_by_its_words() {
    let world = World::new();
    for (starttls, answer) in [
        (Starttls::Postgres, &b"N"[..]),
        (Starttls::Imap, b"* BYE no\r\n"),
        (Starttls::Mysql, b"\x05\x00\x00\x00\x0a8.0\x00"),
        (Starttls::Ldap, b"\x30\x03\x0a\x01\x02"),
    ] {
        let service = Service::start(move |mut conversation| {
            conversation.send(answer);
            while conversation.bytes(1).is_some() {}
        });
        let mut asked = world
            .asks(service.address())
            .question(|question| question.starttls = Some(starttls));
        asked.wanted.limits.attempt = std::time::Duration::from_millis(500);
        asked.check(Some(Cause::PeerNotTls)).await;
    }
}
