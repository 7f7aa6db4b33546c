use countersign_pki::pem::{Block, InvalidPem, MAX_BYTES, decode_all, encode};

fn block(label: &str, der: &[u8]) -> Block {
    Block {
        label: label.to_owned(),
        der: der.to_vec(),
    }
}

fn check(bytes: &[u8], expected: &Result<Vec<Block>, InvalidPem>) {
    assert_eq!(
        decode_all(bytes),
        *expected,
        "{}",
        String::from_utf8_lossy(bytes)
    );
}

fn damaged(block: usize, why: &'static str) -> Result<Vec<Block>, InvalidPem> {
    Err(InvalidPem::Damaged { block, why })
}

#[test]
fn blocks_round_trip_in_64_columns() {
    for length in [1, 2, 3, 47, 48, 49, 96, 1000] {
        let der = vec![0xa5; length];
        let text = encode("CERTIFICATE", &der);
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
        check(text.as_bytes(), &Ok(vec![block("CERTIFICATE", &der)]));
    }
    assert_eq!(
        encode("X509 CRL", b"abc"),
        "-----BEGIN X509 CRL-----\nYWJj\n-----END X509 CRL-----\n"
    );
}

#[test]
fn text_around_blocks_and_foreign_line_ends_are_skipped() {
    let (a, b) = (
        encode("CERTIFICATE", b"first"),
        encode("PRIVATE KEY", b"second"),
    );
    let both = || {
        Ok(vec![
            block("CERTIFICATE", b"first"),
            block("PRIVATE KEY", b"second"),
        ])
    };
    check(format!("{a}{b}").as_bytes(), &both());
    check(format!("{a}{b}").replace('\n', "\r\n").as_bytes(), &both());
    check(format!("{a}{b}").replace('\n', "\r").as_bytes(), &both());
    check(
        format!("Subject: CN=a\n\n  {a}\nM\u{fc}ll\n{b}\n\n").as_bytes(),
        &both(),
    );
    check(
        &[b"latin-1: \xfc\n", a.as_bytes(), b.as_bytes()].concat(),
        &both(),
    );
    check(format!("{a}{}", b.trim_end()).as_bytes(), &both());
}

#[test]
fn each_fault_of_a_file_is_named() {
    let good = encode("CERTIFICATE", &[7; 60]);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    check(
        format!("\u{feff}{good}").as_bytes(),
        &Err(InvalidPem::Encoding),
    );
    check(
        &[&[0xff, 0xfe], &utf16[..]].concat(),
        &Err(InvalidPem::Encoding),
    );
    check(&utf16, &Err(InvalidPem::Encoding));
    check(
        format!("{}{good}", good.trim_end()).as_bytes(),
        &Err(InvalidPem::Glued),
    );
    check(b"", &Err(InvalidPem::NotPem));
    check(&[0x30, 0x82, 1, 2, 3], &Err(InvalidPem::NotPem));
    check(b"hello", &Err(InvalidPem::NotPem));
    check(
        &vec![b'\n'; MAX_BYTES + 1],
        &Err(InvalidPem::TooLarge {
            bytes: MAX_BYTES + 1,
            most: MAX_BYTES,
        }),
    );
    check(
        &good.as_bytes()[..good.len() / 2],
        &damaged(1, "the file ends before its END line"),
    );
    check(
        format!("{good}{}", &good[..good.len() - 30]).as_bytes(),
        &damaged(2, "the file ends before its END line"),
    );
    check(
        good.replace("END CERTIFICATE", "END PRIVATE KEY")
            .as_bytes(),
        &damaged(1, "its END line does not match its BEGIN line"),
    );
    check(
        good.replace("BwcH", "Bw!H").as_bytes(),
        &damaged(1, "its base64 is broken"),
    );
    check(
        good.replacen("BwcH", "Bwc", 1).as_bytes(),
        &damaged(1, "its base64 is broken"),
    );
    check(
        good.replace("-----BEGIN CERTIFICATE-----", "-----BEGIN CERTIFICATE----")
            .as_bytes(),
        &damaged(1, "its BEGIN or END line is malformed"),
    );
    check(
        format!("-----BEGIN CERTIFICATE-----\n{good}").as_bytes(),
        &damaged(1, "another block begins before its END line"),
    );
    check(
        format!("{good}-----END CERTIFICATE-----\n").as_bytes(),
        &damaged(2, "an END line stands without its BEGIN line"),
    );
    check(
        b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n",
        &damaged(1, "it is empty"),
    );
    check(
        b"-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nYWJj\n-----END RSA PRIVATE KEY-----\n",
        &damaged(1, "it has headers, as old encrypted keys do: convert it with `openssl pkcs8 -topk8`"),
    );
    check(
        b"-----BEGIN A-----\n\xff\n-----END A-----\n",
        &damaged(1, "it holds bytes that are not base64"),
    );
}

#[test]
fn a_block_does_not_print_its_bytes() {
    assert_eq!(
        format!("{:?}", block("PRIVATE KEY", b"secret")),
        "Block(\"PRIVATE KEY\", 6 bytes)"
    );
}
