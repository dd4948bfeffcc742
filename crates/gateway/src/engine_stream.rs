//! A connection to an engine.
//!
//! The kernel reports a Unix socket writable whenever the engine has read something, that is after every query. A thread
//! that waits for both directions is woken once more per query for nothing, so only reading is waited for, until a write
//! finds no room.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connection to an engine over a Unix socket.
pub struct EngineStream {
    /// None only when the runtime refused to wait for the socket; nothing can be read or written then.
    socket: Option<AsyncFd<UnixStream>>,
    waits_for_room: bool,
}

impl EngineStream {
    /// Takes over a connected socket that does not block.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        Ok(Self { socket: Some(register(socket, Interest::READABLE)?), waits_for_room: false })
    }

    fn socket(&self) -> io::Result<&AsyncFd<UnixStream>> {
        self.socket.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Waits for room to write too, or not any more. What was being waited for before is forgotten, so the task has to look
    /// at both directions again.
    fn wait_for_room(&mut self, wanted: bool, cx: &Context<'_>) -> io::Result<()> {
        if self.waits_for_room != wanted {
            let socket = self.socket.take().ok_or(io::ErrorKind::NotConnected)?.into_inner();
            let interest = if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            self.socket = Some(register(socket, interest)?);
            self.waits_for_room = wanted;
            cx.waker().wake_by_ref();
        }
        Ok(())
    }
}

/// The other constructor is `unsafe` because a descriptor may be somebody else's; a standard socket gives out its own.
#[expect(deprecated, reason = "sound for a type of the standard library")]
fn register(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(socket, interest)
}

impl AsyncRead for EngineStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut().socket()?;
        loop {
            let mut ready = ready!(socket.poll_read_ready(cx))?;
            let unfilled = buffer.initialize_unfilled();
            let room = unfilled.len();
            match ready.try_io(|socket| socket.get_ref().read(unfilled)) {
                Ok(Ok(count)) => {
                    // A socket that gave less than it was asked for is empty; the next bytes will be announced.
                    if count > 0 && count < room {
                        ready.clear_ready();
                    }
                    buffer.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for EngineStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        loop {
            if this.waits_for_room {
                let mut ready = ready!(this.socket()?.poll_write_ready(cx))?;
                match ready.try_io(|socket| socket.get_ref().write(bytes)) {
                    Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                    Ok(Ok(count)) => {
                        this.wait_for_room(false, cx)?;
                        return Poll::Ready(Ok(count));
                    }
                    Ok(Err(error)) => return Poll::Ready(Err(error)),
                    Err(_would_block) => {}
                }
                continue;
            }
            match this.socket()?.get_ref().write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => this.wait_for_room(true, cx)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.get_mut().socket()?.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    fn pair() -> (EngineStream, tokio::net::UnixStream) {
        let (ours, engines) = UnixStream::pair().expect("a pair of sockets");
        for end in [&ours, &engines] {
            end.set_nonblocking(true).expect("a socket that does not block");
        }
        (EngineStream::new(ours).expect("a stream"), tokio::net::UnixStream::from_std(engines).expect("a stream"))
    }

    #[tokio::test]
    async fn bytes_arrive_whole_while_an_engine_reads_late_and_answers_at_the_same_time() {
        const LENGTH: usize = 4 << 20;
        let (mut ours, mut engine) = pair();
        let sent: Vec<u8> = (0..LENGTH).map(|i| (i % 251) as u8).collect();
        let expected = sent.clone();
        let echo = tokio::spawn(async move {
            let mut buffer = vec![0; 10_000];
            let mut seen = 0;
            while seen < LENGTH {
                tokio::time::sleep(std::time::Duration::from_micros(200)).await;
                let count = engine.read(&mut buffer).await.expect("read");
                engine.write_all(&buffer[..count]).await.expect("write");
                seen += count;
            }
            engine.shutdown().await.expect("shutdown");
        });
        // Both directions in one task, as the relay does it.
        let (mut at, mut back) = (0, Vec::new());
        std::future::poll_fn(|cx| {
            while at < sent.len() {
                match Pin::new(&mut ours).poll_write(cx, &sent[at..]) {
                    Poll::Ready(count) => at += count.expect("write"),
                    Poll::Pending => break,
                }
            }
            let mut buffer = [0; 7000];
            loop {
                let mut read = ReadBuf::new(&mut buffer);
                ready!(Pin::new(&mut ours).poll_read(cx, &mut read)).expect("read");
                if read.filled().is_empty() {
                    return Poll::Ready(());
                }
                back.extend_from_slice(read.filled());
            }
        })
        .await;
        echo.await.expect("the echo ended");
        assert!(back == expected);
    }

    #[tokio::test]
    async fn an_end_is_seen_on_both_sides() {
        let (mut ours, mut engine) = pair();
        ours.write_all(b"last words").await.expect("write");
        ours.shutdown().await.expect("shutdown");
        let mut words = Vec::new();
        engine.read_to_end(&mut words).await.expect("read");
        assert_eq!(words, b"last words");
        drop(engine);
        assert_eq!(ours.read(&mut [0; 16]).await.expect("read"), 0);
        assert!(ours.write_all(b"too late").await.is_err());
    }
}
