//! Answers `GET /metrics` and nothing else: one request a connection, bounded in size, time and number. Small enough
//! to be read whole; hyper's server side would cost the device more than all of the figures.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::Figures;

/// What the figures are served as.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The largest head of a request, in bytes: scrapers send a few hundred.
const LONGEST_HEAD: usize = 4096;
/// From accepted to answered; then the connection is dropped.
const PATIENCE: Duration = Duration::from_secs(5);
/// So many connections at once; more wait in the system's queue.
const AT_ONCE: usize = 4;
/// Before trying again where no connection can be accepted (too many open files).
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers those who connect to `listener`; never returns. Sleeps until somebody does.
pub async fn serve(listener: TcpListener, figures: Figures) {
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    // The semaphore is never closed.
    while let Ok(slot) = slots.clone().acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) => {
                let figures = figures.clone();
                tokio::spawn(async move {
                    if !answer_in_time(stream, &figures).await {
                        tracing::debug!("a reader of the metrics went away or was too slow");
                    }
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "metrics: no connection can be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Whether an answer was given.
async fn answer_in_time(stream: impl AsyncRead + AsyncWrite + Unpin, figures: &Figures) -> bool {
    matches!(timeout(PATIENCE, answer(stream, figures)).await, Ok(Ok(())))
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, figures: &Figures) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(512);
    let whole = loop {
        if head.windows(4).any(|end| end == b"\r\n\r\n") {
            break true;
        }
        let room = LONGEST_HEAD.saturating_sub(head.len());
        if room == 0 || (&mut stream).take(room as u64).read_buf(&mut head).await? == 0 {
            break false;
        }
    };
    let (status, body) = if whole {
        reply(&head, figures)
    } else if head.len() >= LONGEST_HEAD {
        ("431 Request Header Fields Too Large", String::new())
    } else {
        ("400 Bad Request", String::new())
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

fn reply(head: &[u8], figures: &Figures) -> (&'static str, String) {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next(), words.next(), words.next());
    if words.next().is_some() || !version.is_some_and(|version| version.starts_with(b"HTTP/1.")) {
        return ("400 Bad Request", String::new());
    }
    if method != Some(b"GET") {
        return ("405 Method Not Allowed", String::new());
    }
    // Some scrapers add a query.
    let path = target.and_then(|target| target.split(|byte| *byte == b'?').next());
    if path != Some(b"/metrics") {
        return ("404 Not Found", String::new());
    }
    ("200 OK", figures.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::metrics::AttemptOutcome;

    /// What is answered to a client that sends this and then closes its side.
    async fn asked(request: &[u8]) -> String {
        let figures = Figures::default();
        figures.metrics.attempt(AttemptOutcome::Successful);
        let (mut client, served) = tokio::io::duplex(64 * 1024);
        client.write_all(request).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(answer_in_time(served, &figures).await);
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test(start_paused = true)]
    async fn a_scraper_gets_the_figures() {
        for target in ["/metrics", "/metrics?x=1"] {
            let text = asked(format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
            assert!(
                head.contains(&format!("Content-Length: {}\r\n", body.len())),
                "{head}"
            );
            assert!(
                body.contains("outpost_agent_attempts_total{outcome=\"successful\"} 1\n"),
                "{body}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn anything_else_gets_no_figures() {
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"GET /metricsx HTTP/1.1\r\n\r\n", "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"GET /metrics\r\n\r\n", "400"),
            (b"GET /metrics HTTP/1.1 x\r\n\r\n", "400"),
            (b"\r\n\r\n", "400"),
            (b"\x16\x03\x01\x02\x00\x01\xff\xfe\r\n\r\n", "400"),
            (b"GET /metrics HTTP/1.1\r\n", "400"),
            (b"", "400"),
        ] {
            let text = asked(request).await;
            let shown = String::from_utf8_lossy(request);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{shown:?}: {text}"
            );
            assert!(!text.contains("outpost_agent"), "{shown:?}: {text}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_of_the_longest_length_is_read_and_one_byte_more_is_not() {
        let frame = b"GET /metrics HTTP/1.1\r\nX: \r\n\r\n".len();
        for (length, status) in [(LONGEST_HEAD, "200"), (LONGEST_HEAD + 1, "431"), (60_000, "431")] {
            let filling = "x".repeat(length - frame);
            let request = format!("GET /metrics HTTP/1.1\r\nX: {filling}\r\n\r\n");
            assert_eq!(request.len(), length);
            let text = asked(request.as_bytes()).await;
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{length}: {text}"
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_sends_too_slowly_or_reads_nothing_is_dropped_in_time() {
        let figures = Figures::default();
        let begun = tokio::time::Instant::now();
        let (mut slow, served) = tokio::io::duplex(64 * 1024);
        let dripping = async {
            // Never whole: the next byte always comes before any deadline between two bytes would pass.
            while slow.write_all(b"G").await.is_ok() {
                sleep(Duration::from_secs(1)).await;
            }
        };
        let (answered, ()) = tokio::join!(answer_in_time(served, &figures), dripping);
        assert!(!answered);
        // The dripping ends at its first byte after the drop.
        assert!(
            begun.elapsed() <= PATIENCE + Duration::from_secs(1),
            "{:?}",
            begun.elapsed()
        );

        // Room for the request alone: the answer can't be written.
        let request = b"GET /metrics HTTP/1.1\r\n\r\n";
        let (mut deaf, served) = tokio::io::duplex(request.len());
        deaf.write_all(request).await.unwrap();
        let begun = tokio::time::Instant::now();
        assert!(!answer_in_time(served, &figures).await);
        assert_eq!(begun.elapsed(), PATIENCE);
    }

    #[tokio::test]
    async fn idle_connections_do_not_keep_a_scraper_out() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, Figures::default()));
        let mut idle = Vec::new();
        for _ in 1..AT_ONCE {
            idle.push(tokio::net::TcpStream::connect(address).await.unwrap());
        }
        let mut scraper = tokio::net::TcpStream::connect(address).await.unwrap();
        scraper.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").await.unwrap();
        let mut text = String::new();
        scraper.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
        server.abort();
    }
}
