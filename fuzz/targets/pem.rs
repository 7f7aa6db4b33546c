//! PEM files as people hand them in.

use countersign_pki::pem;

#[test]
fn decoded_blocks_read_back_as_written() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let Ok(blocks) = pem::decode_all(bytes) else {
            return;
        };
        let written: String = blocks
            .iter()
            .map(|block| pem::encode(&block.label, &block.der))
            .collect();
        assert_eq!(pem::decode_all(written.as_bytes()), Ok(blocks));
    });
}

#[test]
fn any_bytes_survive_the_way_through_pem() {
    bolero::check!().for_each(|bytes: &[u8]| {
        if bytes.is_empty() {
            return;
        }
        let blocks =
            pem::decode_all(pem::encode("CERTIFICATE", bytes).as_bytes()).expect("our own PEM");
        assert_eq!((blocks.len(), blocks[0].der.as_slice()), (1, bytes));
    });
}
