//! Server-sent events (WHATWG HTML §9.2), as much of them as the feed uses: `data:` lines and comments.

/// One event with its blank line.
pub fn event(data: &str) -> String {
    // JSON has no raw line ends, and nothing else is sent.
    debug_assert!(!data.contains(['\n', '\r']), "one line");
    format!("data: {data}\n\n")
}

/// A comment: it tells an idle reader that the writer lives.
pub const KEEP_ALIVE: &str = ":\n\n";

/// Cuts bytes as they come into the data of events. Never holds more than one event of [`MAX_EVENT_BYTES`].
#[derive(Debug, Default)]
pub struct EventStream {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    after_carriage_return: bool,
}

impl EventStream {
    /// Adds `bytes` and hands each event that they complete to `take`, which may stop with an error.
    pub fn push<E: From<EventTooLong>>(
        &mut self,
        bytes: &[u8],
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for &byte in bytes {
            let after_carriage_return = std::mem::take(&mut self.after_carriage_return);
            match byte {
                // The second half of CR LF.
                b'\n' if after_carriage_return => {}
                b'\n' | b'\r' => {
                    self.after_carriage_return = byte == b'\r';
                    self.end_line(&mut take)?;
                }
                _ => {
                    if self.line.len() + self.data.len() >= MAX_EVENT_BYTES {
                        return Err(EventTooLong.into());
                    }
                    self.line.push(byte);
                }
            }
        }
        Ok(())
    }

    fn end_line<E: From<EventTooLong>>(
        &mut self,
        take: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                let data = std::mem::take(&mut self.data);
                return take(&data);
            }
            return Ok(());
        }
        if let Some(value) = self.line.strip_prefix(b"data:") {
            let value = value.strip_prefix(b" ").unwrap_or(value);
            if self.has_data {
                self.data.push(b'\n');
            }
            self.data.extend_from_slice(value);
            self.has_data = true;
        }
        // Comments and other fields (event, id, retry) mean nothing here.
        self.line.clear();
        Ok(())
    }
}

/// The writer goes on and on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the feed is over {MAX_EVENT_BYTES} bytes")]
pub struct EventTooLong;

/// A part of a snapshot has some 50 KiB; a head with bundles of many anchors some hundred.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(chunks: &[&[u8]]) -> Result<Vec<String>, EventTooLong> {
        let mut stream = EventStream::default();
        let mut events = Vec::new();
        for chunk in chunks {
            stream.push::<EventTooLong>(chunk, |data| {
                events.push(String::from_utf8_lossy(data).into_owned());
                Ok(())
            })?;
        }
        Ok(events)
    }

    #[test]
    fn events_come_out_however_they_are_cut() {
        let bytes = b": hello\n\ndata: {\"a\":1}\nid: 7\n\ndata:b\r\n\r\nevent: x\n\ndata: c\rdata: d\r\rdata: never";
        let whole = read(&[bytes]).expect("short");
        assert_eq!(whole, ["{\"a\":1}", "b", "c\nd"]);
        let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(read(&pieces), Ok(whole));
    }

    #[test]
    fn what_is_written_is_read() {
        let text = event("one") + KEEP_ALIVE + &event("two");
        assert_eq!(
            read(&[text.as_bytes()]),
            Ok(vec!["one".into(), "two".into()])
        );
    }

    #[test]
    fn endless_lines_and_endless_events_end() {
        let line = vec![b'x'; MAX_EVENT_BYTES + 1];
        assert_eq!(read(&[&line]), Err(EventTooLong));
        let lines = b"data: 0123456789\n".repeat(MAX_EVENT_BYTES / 10);
        assert_eq!(read(&[&lines]), Err(EventTooLong));
    }
}
