//! A conversation with rtnetlink: batches of requests settled in order, dumps, nothing between.
//!
//! Every wait is bounded. After any doubt about what was said the conversation is over and its owner begins
//! another, so an answer to an earlier request can never be taken for this one's.

use neli::consts::socket::NlFamily;

use crate::netlink::attribute::Malformed;
use crate::netlink::message::{DUMP_INTERRUPTED, NOOP, Reply, replies};
use crate::netlink::request::{ACK, Request};
use crate::netlink::socket::Socket;

/// Most requests in one datagram: their refusals, with what they refuse, fit any receive buffer.
pub(super) const BATCH: usize = 64;
/// Most datagrams in the answer to one send: a table of millions still ends.
const MOST_DATAGRAMS: usize = 1 << 20;
/// How often a dump the kernel calls inconsistent is asked for before it is taken as it is.
const DUMP_ATTEMPTS: usize = 4;

/// The kernel's verdict on a request that it refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) errno: i32,
    /// Its own words, where it gave some.
    pub(super) text: Option<String>,
}

/// See the module.
pub(super) struct Talk {
    socket: Socket,
    seq: u32,
}

impl Talk {
    pub(super) fn open() -> Result<Talk, String> {
        Ok(Talk { socket: Socket::open(NlFamily::Route).map_err(|e| format!("rtnetlink: {e}"))?, seq: 1 })
    }

    /// Performs requests in order and answers for each what was refused of it.
    ///
    /// # Errors
    /// A sentence, when the outcome is unknown.
    pub(super) fn batch(&mut self, requests: &[Request]) -> Result<Vec<Option<Verdict>>, String> {
        let mut all = vec![None; requests.len()];
        for (verdicts, slice) in all.chunks_mut(BATCH).zip(requests.chunks(BATCH)) {
            self.settle(slice, verdicts)?;
        }
        Ok(all)
    }

    /// One datagram, closed by a message that does nothing and is acknowledged: failures are reported unasked,
    /// in order, so its acknowledgement settles them all.
    fn settle(&mut self, requests: &[Request], verdicts: &mut [Option<Verdict>]) -> Result<(), String> {
        let first = self.seq;
        let mut datagram = Vec::new();
        for request in requests {
            request.write(&mut datagram, self.take_seq());
        }
        Request::new(NOOP, ACK, &[]).write(&mut datagram, self.take_seq());
        self.socket.send(&datagram)?;
        for _ in 0..MOST_DATAGRAMS {
            for reply in replies(self.socket.receive()?) {
                match reply.map_err(senseless)? {
                    Reply::Verdict { seq, errno, text } => {
                        let index = usize::try_from(seq.wrapping_sub(first)).unwrap_or(usize::MAX);
                        match (verdicts.get_mut(index), errno) {
                            (None, 0) if index == requests.len() => return Ok(()),
                            (None, _) => return Err("rtnetlink: an answer to nothing that was asked".into()),
                            (Some(_), 0) => {}
                            (Some(verdict), errno) => *verdict = Some(Verdict { errno, text }),
                        }
                    }
                    // What was made is echoed by some kernels; nobody asked.
                    Reply::Data { .. } | Reply::Done { .. } => {}
                }
            }
        }
        Err("rtnetlink: an answer without end".into())
    }

    /// Asks for a dump and hands what follows each message's header to `on_data`, after a `reset` each time it
    /// is asked for anew because something changed under it.
    ///
    /// # Errors
    /// A sentence.
    pub(super) fn dump<T>(
        &mut self,
        request: &Request,
        empty: impl Fn() -> T,
        on_data: impl Fn(&mut T, &[u8]) -> Result<(), Malformed>,
    ) -> Result<T, String> {
        let mut attempt = 1;
        loop {
            let mut all = empty();
            let is_whole = self.dump_once(request, |payload| on_data(&mut all, payload))?;
            // News tell of what changed meanwhile.
            if is_whole || attempt == DUMP_ATTEMPTS {
                return Ok(all);
            }
            attempt += 1;
        }
    }

    fn dump_once(
        &mut self,
        request: &Request,
        mut on_data: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<bool, String> {
        let asked = self.take_seq();
        let mut datagram = Vec::new();
        request.write(&mut datagram, asked);
        self.socket.send(&datagram)?;
        let mut is_whole = true;
        for _ in 0..MOST_DATAGRAMS {
            for reply in replies(self.socket.receive()?) {
                let (seq, errno, is_end) = match reply.map_err(senseless)? {
                    Reply::Data { seq, flags, payload, .. } => {
                        is_whole &= flags & DUMP_INTERRUPTED == 0;
                        on_data(payload).map_err(senseless)?;
                        (seq, 0, false)
                    }
                    Reply::Done { seq, flags, errno } => {
                        is_whole &= flags & DUMP_INTERRUPTED == 0;
                        (seq, errno, true)
                    }
                    Reply::Verdict { seq, errno, .. } => (seq, errno, true),
                };
                if seq != asked {
                    return Err("rtnetlink: an answer to nothing that was asked".into());
                }
                if errno != 0 {
                    return Err(format!("rtnetlink: {}", super::in_words(errno, None)));
                }
                if is_end {
                    return Ok(is_whole);
                }
            }
        }
        Err("rtnetlink: an answer without end".into())
    }

    fn take_seq(&mut self) -> u32 {
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        seq
    }
}

fn senseless(malformed: Malformed) -> String {
    format!("rtnetlink: {malformed}")
}
