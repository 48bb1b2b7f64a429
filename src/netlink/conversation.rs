//! A conversation with a netlink protocol: batches of requests, done in order, and dumps, one after the other.
//!
//! Replies are matched to requests by sequence number. An error means that the outcome is unknown: the owner drops the
//! conversation and opens another, so the answer to an earlier request is never taken for the answer to a later one.

use neli::consts::socket::NlFamily;

use super::attribute::Malformed;
use super::message::{DUMP_INTERRUPTED, NOOP, Reply, replies};
use super::request::{ACK, Request};
use super::socket::Socket;

/// Most requests in one datagram: more is no faster, and their refusals fit any receive buffer.
pub(crate) const BATCH: usize = 64;
/// Most datagrams in the answer to one send: a table of millions still ends.
const MOST_DATAGRAMS: usize = 1 << 20;
/// How often a dump that the kernel calls inconsistent is asked for.
pub(crate) const DUMP_ATTEMPTS: usize = 4;

/// A request of a batch that the kernel refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    /// Its index in the batch.
    pub(crate) index: usize,
    /// Positive errno.
    pub(crate) errno: i32,
    /// The kernel's text.
    pub(crate) text: Option<String>,
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DumpEnd {
    Complete,
    /// The table changed at every attempt: what was read may be inconsistent.
    Interrupted,
    /// The kernel refused, positive errno.
    Refused(i32),
}

/// See the module.
pub(crate) struct Conversation {
    socket: Socket,
    seq: u32,
}

impl Conversation {
    /// Opens a conversation whose first message has the number `seq`.
    pub(crate) fn open(protocol: NlFamily, seq: u32) -> Result<Conversation, String> {
        Ok(Conversation { socket: Socket::open(protocol)?, seq })
    }

    /// Performs requests in order and returns the refused ones, ascending. `on_data` gets the index of a request, and
    /// the type and the payload of a message that answers it.
    pub(crate) fn batch(
        &mut self,
        requests: &[Request],
        mut on_data: impl FnMut(usize, u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<Vec<Refused>, String> {
        let mut refused = Vec::new();
        for (number, slice) in requests.chunks(BATCH).enumerate() {
            let offset = number.saturating_mul(BATCH);
            let first = refused.len();
            self.send_batch(slice, &mut refused, |index, kind, payload| {
                on_data(offset + index, kind, payload)
            })?;
            refused.iter_mut().skip(first).for_each(|refused| refused.index += offset);
        }
        Ok(refused)
    }

    /// Sends one datagram, closed by a message that does nothing and is acknowledged. The kernel works requests off in
    /// order and reports failures unasked, so when that acknowledgement arrives, all their errors have arrived.
    ///
    /// The requests themselves ask for no acknowledgement, because a kernel that ends one with EINTR does not answer
    /// at all. IPVS does so when a sync daemon is stopped before its thread has run.
    fn send_batch(
        &mut self,
        requests: &[Request],
        refused: &mut Vec<Refused>,
        mut on_data: impl FnMut(usize, u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(), String> {
        let (first, last) = (self.seq, requests.len());
        let mut datagram = Vec::new();
        for request in requests {
            request.write(&mut datagram, self.take_seq());
        }
        Request::new(NOOP, ACK, &[]).write(&mut datagram, self.take_seq());
        self.socket.send(&datagram)?;
        for _ in 0..MOST_DATAGRAMS {
            for reply in replies(self.socket.receive()?) {
                match reply.map_err(senseless)? {
                    Reply::Data { seq, kind, payload, .. } => {
                        on_data(index(seq, first, last)?, kind, payload).map_err(senseless)?;
                    }
                    Reply::Ack { seq, errno, text } => match (index(seq, first, last)?, errno) {
                        (index, 0) if index == last => return Ok(()),
                        (index, _) if index == last => return Err("the kernel refused to do nothing".into()),
                        (_, 0) => {}
                        (index, errno) => refused.push(Refused { index, errno, text }),
                    },
                    Reply::Done { .. } => return Err("a dump ended that was not asked for".into()),
                }
            }
        }
        Err("an answer without end".into())
    }

    /// Reads a table into a collection: each message's type and payload are handed to `on_data`. Begins again with an
    /// empty collection when the table changed meanwhile, up to [`DUMP_ATTEMPTS`] times.
    pub(crate) fn dump<T>(
        &mut self,
        request: &Request,
        empty: impl Fn() -> T,
        on_data: impl Fn(&mut T, u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<(T, DumpEnd), String> {
        let mut attempt = 1;
        loop {
            let mut all = empty();
            let end = self.dump_once(request, |kind, payload| on_data(&mut all, kind, payload))?;
            if end != DumpEnd::Interrupted || attempt == DUMP_ATTEMPTS {
                return Ok((all, end));
            }
            attempt += 1;
        }
    }

    fn dump_once(
        &mut self,
        request: &Request,
        mut on_data: impl FnMut(u16, &[u8]) -> Result<(), Malformed>,
    ) -> Result<DumpEnd, String> {
        let asked = self.take_seq();
        let mut datagram = Vec::new();
        request.write(&mut datagram, asked);
        self.socket.send(&datagram)?;
        let mut is_interrupted = false;
        for _ in 0..MOST_DATAGRAMS {
            for reply in replies(self.socket.receive()?) {
                match reply.map_err(senseless)? {
                    Reply::Data { seq, kind, flags, payload } => {
                        index(seq, asked, 0)?;
                        is_interrupted |= flags & DUMP_INTERRUPTED != 0;
                        on_data(kind, payload).map_err(senseless)?;
                    }
                    Reply::Ack { seq, errno, .. } => {
                        index(seq, asked, 0)?;
                        if errno != 0 {
                            return Ok(DumpEnd::Refused(errno));
                        }
                    }
                    Reply::Done { seq, flags, errno } => {
                        index(seq, asked, 0)?;
                        is_interrupted |= flags & DUMP_INTERRUPTED != 0;
                        return Ok(match errno {
                            0 if is_interrupted => DumpEnd::Interrupted,
                            0 => DumpEnd::Complete,
                            errno => DumpEnd::Refused(errno),
                        });
                    }
                }
            }
        }
        Err("an answer without end".into())
    }

    fn take_seq(&mut self) -> u32 {
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        seq
    }
}

/// The place of the request with the number `seq` among those that begin with `first`; `last` is the highest place.
fn index(seq: u32, first: u32, last: usize) -> Result<usize, String> {
    let index = usize::try_from(seq.wrapping_sub(first)).ok().filter(|index| *index <= last);
    index.ok_or_else(|| "an answer to another request".to_owned())
}

fn senseless(malformed: Malformed) -> String {
    format!("an answer makes no sense: {malformed}")
}

#[cfg(test)]
mod tests {
    use super::super::generic;
    use super::*;

    #[test]
    fn an_answer_to_an_earlier_request_is_never_taken_for_this_ones() {
        let mut c = Conversation::open(NlFamily::Generic, 1).unwrap();
        let request = generic::get_family("nlctrl");
        let mut stale = Vec::new();
        request.write(&mut stale, 900);
        c.socket.send(&stale).unwrap();
        let outcome = c.batch(&[request], |_, _, _| Ok(()));
        assert_eq!(outcome, Err("an answer to another request".to_owned()));
    }

    #[test]
    fn an_empty_batch_sends_nothing() {
        let mut c = Conversation::open(NlFamily::Generic, 7).unwrap();
        assert_eq!(c.batch(&[], |_, _, _| Ok(())), Ok(Vec::new()));
        assert_eq!(c.seq, 7);
    }

    #[test]
    fn the_failures_of_a_batch_are_those_of_their_requests_also_when_the_numbers_wrap() {
        let mut c = Conversation::open(NlFamily::Generic, u32::MAX - 1).unwrap();
        let (known, unknown) = (generic::get_family("nlctrl"), generic::get_family("no-such-family"));
        let mut answered = Vec::new();
        let requests = [unknown.clone(), known.clone(), known, unknown];
        let refused = c
            .batch(&requests, |index, _, _| {
                answered.push(index);
                Ok(())
            })
            .unwrap();
        let indices: Vec<_> = refused.iter().map(|r| (r.index, r.errno)).collect();
        assert_eq!(indices, [(0, 2), (3, 2)]);
        assert_eq!(answered, [1, 2]);
        assert_eq!(c.seq, 3);
    }

    #[test]
    fn a_batch_of_several_datagrams_counts_through() {
        let mut c = Conversation::open(NlFamily::Generic, 1).unwrap();
        let mut requests = vec![generic::get_family("nlctrl"); BATCH + 3];
        requests[BATCH + 1] = generic::get_family("no-such-family");
        let mut answered = Vec::new();
        let refused = c
            .batch(&requests, |index, _, _| {
                answered.push(index);
                Ok(())
            })
            .unwrap();
        assert_eq!(refused.iter().map(|r| r.index).collect::<Vec<_>>(), [BATCH + 1]);
        assert_eq!(answered, (0..BATCH + 3).filter(|i| *i != BATCH + 1).collect::<Vec<_>>());
    }
}
