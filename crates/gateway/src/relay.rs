//! Bytes from client to engine and back.
//!
//! A connection that waits owns no buffer: every thread has one, used for the moment between a read and the write that
//! follows. Only what a slow receiver did not take yet is kept, and while something is kept nothing more is read.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const SCRATCH: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Follows what is said after a login. Bytes come in the order they were sent, in pieces of any size.
pub trait Watch {
    /// Whether these bytes of the client may be passed on to the engine.
    fn admits(&mut self, said: &[u8]) -> bool;
    /// The engine answered this.
    fn heard(&mut self, answered: &[u8]);
    /// Whether the client has been answered in full and is in no transaction.
    fn is_between_transactions(&self) -> bool;
}

/// Why a connection ended before its engine closed it.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// It broke.
    #[error("the connection broke")]
    Broke(#[source] io::Error),
    /// The client said what it may not say; the engine has not heard all of it.
    #[error("the client said what it may not say")]
    Forbidden,
    /// Somebody asked for its end, which came between two transactions.
    #[error("its cluster changes its primary")]
    Asked,
}

/// Which side of a flow failed.
enum Broken {
    Sender(io::Error),
    Receiver(io::Error),
    Forbidden,
}

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    kept: Vec<u8>,
    written: usize,
    unflushed: bool,
    ended: bool,
    done: bool,
}

impl Flow {
    /// Whether everything that was read has been passed on.
    fn is_empty(&self) -> bool {
        self.kept.is_empty() && !self.unflushed
    }

    /// Moves what there is; ready when the sender has ended and the receiver was told.
    fn poll<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        admits: &mut impl FnMut(&[u8]) -> bool,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !self.kept.is_empty() {
                while self.written < self.kept.len() {
                    self.written += ready!(write(to, &self.kept[self.written..], cx)).map_err(Broken::Receiver)?;
                }
                self.kept = Vec::new();
                self.written = 0;
            }
            if self.unflushed {
                ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Broken::Receiver)?;
                self.unflushed = false;
            }
            if self.ended {
                // A receiver that is gone already has been told.
                let _ = ready!(Pin::new(&mut *to).poll_shutdown(cx));
                self.done = true;
                return Poll::Ready(Ok(()));
            }
            ready!(BUFFER.with_borrow_mut(|buffer| self.pass_on(from, to, admits, buffer, cx)))?;
        }
    }

    /// Reads once and writes at once. Every byte of a connection after its login comes through here.
    fn pass_on<R, W>(
        &mut self,
        from: &mut R,
        to: &mut W,
        admits: &mut impl FnMut(&[u8]) -> bool,
        buffer: &mut [u8],
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Broken>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let mut read = ReadBuf::new(buffer);
        ready!(Pin::new(from).poll_read(cx, &mut read)).map_err(Broken::Sender)?;
        let mut bytes = read.filled();
        self.ended = bytes.is_empty();
        if !admits(bytes) {
            return Poll::Ready(Err(Broken::Forbidden));
        }
        while !bytes.is_empty() {
            self.unflushed = true;
            match write(to, bytes, cx).map_err(Broken::Receiver)? {
                Poll::Ready(count) => bytes = &bytes[count..],
                Poll::Pending => {
                    self.kept = bytes.to_vec();
                    break;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn write<W: AsyncWrite + Unpin>(to: &mut W, bytes: &[u8], cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(to).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        count => Poll::Ready(Ok(count)),
    }
}

/// Carries bytes until the engine has ended (neither protocol lets a server fall silent and still be spoken to), something
/// breaks, or `asked` says so and the client is between two transactions. A client that has ended may still wait for its answers.
pub async fn relay<C, E>(
    client: &mut C,
    engine: &mut E,
    mut watch: impl Watch,
    mut asked: impl FnMut(&mut Context<'_>) -> bool,
) -> Result<(), RelayError>
where
    C: AsyncRead + AsyncWrite + Unpin,
    E: AsyncRead + AsyncWrite + Unpin,
{
    let mut up = Flow::default();
    let mut down = Flow::default();
    std::future::poll_fn(|cx| {
        // Before the client is heard: what it has not been heard to say, it can say to another primary.
        if asked(cx) && watch.is_between_transactions() && up.is_empty() && down.is_empty() {
            return Poll::Ready(Err(RelayError::Asked));
        }
        match up.poll(client, engine, &mut |said| watch.admits(said), cx) {
            Poll::Ready(Err(Broken::Sender(error))) => return Poll::Ready(Err(RelayError::Broke(error))),
            Poll::Ready(Err(Broken::Forbidden)) => return Poll::Ready(Err(RelayError::Forbidden)),
            // The engine closed, perhaps after a last word (an administrator's kill): deliver that first.
            Poll::Ready(Err(Broken::Receiver(_))) => up.done = true,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        let heard = &mut |answered: &[u8]| {
            watch.heard(answered);
            true
        };
        let answered = down.poll(engine, client, heard, cx).map_err(|broken| match broken {
            Broken::Sender(error) | Broken::Receiver(error) => RelayError::Broke(error),
            Broken::Forbidden => RelayError::Forbidden,
        });
        if answered.is_pending() && asked(cx) && watch.is_between_transactions() && up.is_empty() && down.is_empty() {
            return Poll::Ready(Err(RelayError::Asked));
        }
        answered
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    /// Takes an even number of bytes in each direction for a time between transactions.
    #[derive(Default)]
    struct Evenly {
        said: usize,
        answered: usize,
    }

    impl Watch for Evenly {
        fn admits(&mut self, said: &[u8]) -> bool {
            self.said += said.len();
            true
        }
        fn heard(&mut self, answered: &[u8]) {
            self.answered += answered.len();
        }
        fn is_between_transactions(&self) -> bool {
            self.said == self.answered
        }
    }

    #[tokio::test]
    async fn a_session_that_is_asked_to_end_is_answered_first() {
        let (mut client, mut gateway_client) = duplex(1024);
        let (mut gateway_engine, mut engine) = duplex(1024);
        let asked = std::cell::Cell::new(false);
        client.write_all(b"ask").await.expect("write");
        let (relayed, ()) = tokio::join!(relay(&mut gateway_client, &mut gateway_engine, Evenly::default(), |_| asked.get()), async {
            let mut words = [0; 3];
            engine.read_exact(&mut words).await.expect("read");
            asked.set(true);
            engine.write_all(b"to").await.expect("write");
            tokio::task::yield_now().await;
            client.write_all(b"?").await.expect("write");
            tokio::task::yield_now().await;
            engine.write_all(b"ld").await.expect("write");
            let mut told = [0; 4];
            client.read_exact(&mut told).await.expect("read");
            assert_eq!(&told, b"told");
        },);
        assert!(matches!(relayed, Err(RelayError::Asked)), "{relayed:?}");
    }

    #[tokio::test]
    async fn bytes_arrive_whole_through_receivers_that_take_little_at_a_time() {
        let (mut client, mut gateway_client) = duplex(61);
        let (mut gateway_engine, mut engine) = duplex(97);
        let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let echo = async {
            let mut buffer = [0; 1000];
            loop {
                match engine.read(&mut buffer).await.expect("read") {
                    0 => break,
                    count => engine.write_all(&buffer[..count]).await.expect("write"),
                }
            }
            drop(engine);
        };
        let (mut read, mut write) = tokio::io::split(&mut client);
        let mut back = Vec::new();
        let (_, relayed, (), ()) = tokio::join!(
            async { read.read_to_end(&mut back).await.expect("read") },
            async {
                let relayed = relay(&mut gateway_client, &mut gateway_engine, Evenly::default(), |_| false).await;
                drop(gateway_client);
                relayed
            },
            echo,
            async {
                write.write_all(&sent).await.expect("write");
                write.shutdown().await.expect("shutdown");
            },
        );
        relayed.expect("a clean end");
        assert!(back == sent);
    }

    #[tokio::test]
    async fn the_last_words_of_an_engine_that_is_gone_still_arrive() {
        let (mut client, mut gateway_client) = duplex(1024);
        let (mut gateway_engine, mut engine) = duplex(1024);
        engine.write_all(b"terminating connection").await.expect("write");
        drop(engine);
        client.write_all(b"select 1").await.expect("write");
        relay(&mut gateway_client, &mut gateway_engine, Evenly::default(), |_| false).await.expect("a clean end");
        drop(gateway_client);
        let mut words = Vec::new();
        client.read_to_end(&mut words).await.expect("read");
        assert_eq!(words, b"terminating connection");
    }
}
