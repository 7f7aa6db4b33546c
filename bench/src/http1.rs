//! Just enough HTTP/1.1 to drive and to answer a proxy quickly: no allocation per message.
use std::io::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt};

/// A buffered reader that parses heads and skips bodies.
pub struct Reader {
    buf: Vec<u8>,
    start: usize,
    end: usize,
}

/// The parts of a head that matter here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Head {
    /// Status code of a response; 0 for a request.
    pub status: u16,
    pub content_length: Option<u64>,
    pub chunked: bool,
    pub close: bool,
    /// Offset range of the head inside the buffer (valid until the next read).
    pub range: (usize, usize),
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

impl Reader {
    pub fn new(capacity: usize) -> Self {
        Self {
            buf: vec![0; capacity],
            start: 0,
            end: 0,
        }
    }

    pub fn bytes(&self, range: (usize, usize)) -> &[u8] {
        &self.buf[range.0..range.1]
    }

    /// Reads more; `Ok(0)` is end of stream.
    async fn fill<S: AsyncRead + Unpin>(&mut self, s: &mut S) -> Result<usize> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.buf.len() {
            if self.start == 0 {
                return Err(bad("head larger than the buffer"));
            }
            self.buf.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let n = s.read(&mut self.buf[self.end..]).await?;
        self.end += n;
        Ok(n)
    }

    /// Reads one head; `None` on a clean end of stream before its first byte.
    pub async fn head<S: AsyncRead + Unpin>(&mut self, s: &mut S) -> Result<Option<Head>> {
        loop {
            if let Some(n) = find(&self.buf[self.start..self.end], b"\r\n\r\n") {
                let range = (self.start, self.start + n + 4);
                self.start = range.1;
                return parse_head(&self.buf[range.0..range.1], range).map(Some);
            }
            if self.fill(s).await? == 0 {
                return if self.start == self.end {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        }
    }

    /// Skips the body that `head` announces, calling `progress` with each piece's length.
    pub async fn skip_body<S: AsyncRead + Unpin>(
        &mut self,
        s: &mut S,
        head: &Head,
        mut progress: impl FnMut(usize),
    ) -> Result<u64> {
        if !head.chunked {
            let n = head.content_length.unwrap_or(0);
            self.skip(s, n, &mut progress).await?;
            return Ok(n);
        }
        let mut total = 0;
        loop {
            let size = self.chunk_size(s).await?;
            self.skip(s, size, &mut progress).await?;
            self.skip(s, 2, &mut |_| ()).await?;
            total += size;
            if size == 0 {
                return Ok(total);
            }
        }
    }

    async fn chunk_size<S: AsyncRead + Unpin>(&mut self, s: &mut S) -> Result<u64> {
        loop {
            if let Some(n) = find(&self.buf[self.start..self.end], b"\r\n") {
                let line = &self.buf[self.start..self.start + n];
                let hex = line.split(|b| *b == b';').next().unwrap_or_default();
                let text = std::str::from_utf8(hex).map_err(|_| bad("chunk size"))?;
                let size = u64::from_str_radix(text.trim(), 16).map_err(|_| bad("chunk size"))?;
                self.start += n + 2;
                return Ok(size);
            }
            if self.fill(s).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    async fn skip<S: AsyncRead + Unpin>(
        &mut self,
        s: &mut S,
        mut left: u64,
        progress: &mut impl FnMut(usize),
    ) -> Result<()> {
        while left > 0 {
            if self.start == self.end && self.fill(s).await? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let n = left.min((self.end - self.start) as u64) as usize;
            self.start += n;
            left -= n as u64;
            progress(n);
        }
        Ok(())
    }
}

fn parse_head(head: &[u8], range: (usize, usize)) -> Result<Head> {
    let mut out = Head {
        range,
        ..Head::default()
    };
    if head.starts_with(b"HTTP/1.") {
        let code = head.get(9..12).and_then(|c| std::str::from_utf8(c).ok());
        out.status = code
            .and_then(|c| c.parse().ok())
            .ok_or_else(|| bad("status line"))?;
        out.close = head.starts_with(b"HTTP/1.0");
    }
    for line in head.split(|b| *b == b'\n').skip(1) {
        let Some(colon) = line.iter().position(|b| *b == b':') else {
            continue;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let n = std::str::from_utf8(value).ok().and_then(|v| v.parse().ok());
            out.content_length = Some(n.ok_or_else(|| bad("content-length"))?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            out.chunked = value.eq_ignore_ascii_case(b"chunked");
        } else if name.eq_ignore_ascii_case(b"connection") && value.eq_ignore_ascii_case(b"close") {
            out.close = true;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_two_pipelined_responses() {
        let mut s: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc\
            HTTP/1.1 404 X\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n4\r\nwxyz\r\n0\r\n\r\n";
        let mut r = Reader::new(256);
        let h = r.head(&mut s).await.unwrap().unwrap();
        assert_eq!((h.status, h.close), (200, false));
        assert_eq!(r.skip_body(&mut s, &h, |_| ()).await.unwrap(), 3);
        let h = r.head(&mut s).await.unwrap().unwrap();
        assert_eq!((h.status, h.close), (404, true));
        assert_eq!(r.skip_body(&mut s, &h, |_| ()).await.unwrap(), 4);
        assert!(r.head(&mut s).await.unwrap().is_none());
    }
}
