//! Accepts connections and holds conversations over them: as many as [`super::admission`] says, also when descriptors
//! are short.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use super::admission::{Admission, Connections, Limits, Stage};
use super::clock;
use crate::script::shortage;

/// From a failure to accept to the next attempt, and from one look for a place to the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(super) trait Listener {
    /// What is read and written.
    type Stream: Send + 'static;
    /// The peer, as far as it matters.
    type Peer: Copy + Ord;

    /// The next one.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, Self::Peer)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;
    type Peer = IpAddr;

    async fn accept(&self) -> io::Result<(TcpStream, IpAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        Ok((stream, site(peer.ip())))
    }
}

impl Listener for UnixListener {
    type Stream = UnixStream;
    /// Only root connects: all peers are one.
    type Peer = ();

    async fn accept(&self) -> io::Result<(UnixStream, ())> {
        Ok((UnixListener::accept(self).await?.0, ()))
    }
}

/// A host that has an IPv6 address usually has all of its /64.
fn site(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() >> 64 << 64).into()),
        ip => ip,
    }
}

/// Where a conversation says how far it has come.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    id: u64,
    stages: mpsc::Sender<(u64, Stage)>,
}

impl Progress {
    /// It has come so far.
    pub(super) async fn reached(&self, stage: Stage) {
        // At the end the receiver may have gone.
        let _ = self.stages.send((self.id, stage)).await;
    }
}

/// Accepts and converses until it is ended: requests that have arrived by then are answered, and no others.
pub(super) async fn serve<L: Listener, F: Future<Output = io::Result<()>> + Send + 'static>(
    name: &'static str,
    listener: L,
    limits: Limits,
    mut end: oneshot::Receiver<()>,
    converse: impl Fn(L::Stream, Progress) -> F,
) {
    // Full: a conversation waits for this loop, which empties it.
    let (stages, mut reached) = mpsc::channel(limits.all);
    let mut connections = Connections::new(limits);
    let mut tasks: JoinSet<(u64, io::Result<()>)> = JoinSet::new();
    let mut handles: BTreeMap<u64, AbortHandle> = BTreeMap::new();
    let mut reserve = Reserve::default();
    let mut waiting: Option<(L::Stream, L::Peer)> = None;
    let mut is_ending = false;
    loop {
        if let Some((stream, peer)) = waiting.take() {
            let entered = match connections.admit(clock::now(), peer) {
                Admission::Enters(id) => Some(id),
                Admission::Replaces(id, other) => {
                    handles.remove(&other).iter().for_each(AbortHandle::abort);
                    Some(id)
                }
                Admission::Refused => continue,
                Admission::Full => None,
            };
            match entered {
                Some(id) => {
                    let conversation = converse(stream, Progress { id, stages: stages.clone() });
                    handles.insert(id, tasks.spawn(async move { (id, conversation.await) }));
                }
                None => waiting = Some((stream, peer)),
            }
        }
        if is_ending && tasks.is_empty() {
            return;
        }
        tokio::select! {
            biased;
            Some((id, stage)) = reached.recv() => connections.reached(clock::now(), id, stage),
            _ = &mut end, if !is_ending => {
                is_ending = true;
                waiting = None;
                while let Some(idle) = connections.expel() {
                    handles.remove(&idle).iter().for_each(AbortHandle::abort);
                }
            }
            Some(ended) = tasks.join_next() => {
                let id = match ended {
                    Ok((id, result)) => {
                        if let Err(error) = result {
                            debug!("{name}: {error}");
                        }
                        Some(id)
                    }
                    // It was ended, or broke.
                    Err(error) => handles.iter().find(|(_, task)| task.id() == error.id()).map(|(id, _)| *id),
                };
                if let Some(id) = id {
                    handles.remove(&id);
                    connections.ended(id);
                }
            }
            accepted = accept(name, &listener, &mut reserve), if waiting.is_none() && !is_ending => match accepted {
                Some(accepted) => waiting = Some(accepted),
                // An idle client holds a descriptor that another one needs.
                None => connections.expel().and_then(|idle| handles.remove(&idle)).iter().for_each(AbortHandle::abort),
            },
            () = tokio::time::sleep(PAUSE), if waiting.is_some() => {}
        }
    }
}

/// The next connection; None when descriptors are short, after a pause.
async fn accept<L: Listener>(
    name: &str,
    listener: &L,
    reserve: &mut Reserve,
) -> Option<(L::Stream, L::Peer)> {
    loop {
        reserve.fill();
        let error = match listener.accept().await {
            Ok(accepted) => {
                if std::mem::take(&mut reserve.is_short) {
                    info!("{name}: descriptors are available again");
                }
                return Some(accepted);
            }
            Err(error) => error,
        };
        if !shortage::is_hosts(&error) {
            debug!("{name}: {error}");
            tokio::time::sleep(PAUSE).await;
            continue;
        }
        // With the one in reserve there is room for one.
        if reserve.file.take().is_some()
            && let Ok(accepted) = listener.accept().await
        {
            return Some(accepted);
        }
        if !std::mem::replace(&mut reserve.is_short, true) {
            warn!("{name}: a connection cannot be accepted: {error}: {}", shortage::advice(&error));
        }
        tokio::time::sleep(PAUSE).await;
        return None;
    }
}

/// A descriptor in reserve for when none is left: `lvsd status` must work while descriptors are short.
#[derive(Debug, Default)]
struct Reserve {
    file: Option<File>,
    is_short: bool,
}

impl Reserve {
    fn fill(&mut self) {
        if self.file.is_none() {
            self.file = File::open("/dev/null").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn idle_connections_keep_no_client_out_and_delay_no_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let echo = |mut stream: TcpStream, progress: Progress| async move {
            let mut byte = [0];
            stream.read_exact(&mut byte).await?;
            progress.reached(Stage::Waiting).await;
            stream.write_all(&byte).await
        };
        let serving = tokio::spawn(serve("test", listener, Limits { all: 8, of_peer: 4 }, ended, echo));
        let mut idle = Vec::new();
        for _ in 0..100 {
            idle.push(TcpStream::connect(address).await.unwrap());
        }
        let mut asking = TcpStream::connect(address).await.unwrap();
        asking.write_all(b"x").await.unwrap();
        let mut answer = [0];
        asking.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, *b"x");
        end.send(()).unwrap();
        serving.await.unwrap();
    }

    #[test]
    fn a_peer_is_an_ipv4_address_or_half_an_ipv6_address() {
        let site = |ip: &str| site(ip.parse().unwrap()).to_string();
        assert_eq!(site("192.0.2.7"), "192.0.2.7");
        assert_eq!(site("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(site("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
    }
}
