//! Servers that say exactly what a test tells them to, for the tests of the conversations.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::spec::Target;

/// What a server does next on a connection. After the last step it closes.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Reads a request to the end of its header.
    Request,
    /// Reads the first bytes that come.
    Some,
    Say(Vec<u8>),
    /// Keeps silent for a time.
    Wait(Duration),
    /// Says this byte by byte, waiting before each.
    Drip(Vec<u8>, Duration),
    /// Says this every millisecond until the client closes.
    Forever(Vec<u8>),
    /// Reads until the client closes.
    Hold,
    /// Closes with a reset; on a socket only.
    Reset,
}

/// What a server notes when its client reset the connection.
pub(super) const RESET: &str = "[reset]";

pub(super) fn say(text: impl Into<Vec<u8>>) -> Step {
    Step::Say(text.into())
}

/// Plays `script` on `stream` and returns what it read. A client that goes away ends the play; one that goes
/// by reset leaves [`RESET`] behind.
pub(super) async fn play<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, script: &[Step]) -> String {
    let mut heard = Vec::new();
    for step in script {
        let result = match step {
            Step::Request => loop {
                match stream.read_u8().await {
                    Ok(byte) => heard.push(byte),
                    Err(e) => break Err(e),
                }
                if heard.ends_with(b"\r\n\r\n") {
                    break Ok(());
                }
            },
            Step::Some => {
                heard.reserve(4096);
                stream.read_buf(&mut heard).await.map(|_| ())
            }
            Step::Say(text) => stream.write_all(text).await,
            Step::Wait(time) => {
                tokio::time::sleep(*time).await;
                Ok(())
            }
            Step::Drip(text, time) => {
                let mut result = Ok(());
                for byte in text {
                    tokio::time::sleep(*time).await;
                    result = result.and(stream.write_all(&[*byte]).await);
                }
                result
            }
            Step::Forever(text) => loop {
                if let Err(e) = stream.write_all(text).await {
                    break Err(e);
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            },
            Step::Hold => stream.read_to_end(&mut heard).await.map(|_| ()),
            Step::Reset => Ok(()),
        };
        if let Err(e) = result {
            if e.kind() == std::io::ErrorKind::ConnectionReset {
                heard.extend(RESET.as_bytes());
            }
            break;
        }
    }
    String::from_utf8_lossy(&heard).into_owned()
}

/// Listens on loopback, plays one script per connection, and returns in the end what each connection said.
pub(super) async fn serve(scripts: Vec<Vec<Step>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let mut heard = Vec::new();
        for script in scripts {
            let (mut stream, _) = listener.accept().await.unwrap();
            heard.push(play(&mut stream, &script).await);
            if matches!(script.last(), Some(Step::Reset)) {
                stream.set_zero_linger().unwrap();
            }
        }
        heard
    });
    (address, server)
}

/// A target with nothing special, and more time than a busy machine needs.
pub(super) fn target(address: SocketAddr) -> Target {
    Target { address, source: None, connect_timeout: Duration::from_secs(10) }
}
