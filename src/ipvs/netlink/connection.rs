//! One conversation at a time with a generic netlink family: batches of requests, dumps, nothing between.
//!
//! Replies are told apart by sequence number; one that belongs to no open request means that we no longer
//! know what we read, so the connection is given up. It refuses to know what IPVS's messages say.

use std::io::Cursor;

use neli::consts::nl::NlmF;
use neli::consts::socket::NlFamily;

use super::encode::{self, Request, Unencodable};
use super::wire;
use crate::ipvs::backend::Error;
use crate::netlink::attribute::Malformed;
use crate::netlink::message::{DUMP_INTERRUPTED, Reply, replies};
use crate::netlink::socket::Socket;

/// A socket, the family it speaks to, and the next sequence number.
pub(super) struct Connection {
    socket: Socket,
    family: u16,
    seq: u32,
}

/// A request of a batch that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Its index in the batch.
    pub(super) index: usize,
    pub(super) errno: i32,
    /// The kernel's text.
    pub(super) text: Option<String>,
}

/// How a dump ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DumpEnd {
    /// Everything was said.
    Complete,
    /// The table changed meanwhile: what was said may be inconsistent.
    Interrupted,
    /// The kernel refused, positive errno.
    Refused(i32),
}

const GENERIC_HEADER: usize = 4;
/// Most datagrams in the answer to one send: a table of millions still ends.
const MOST_DATAGRAMS: usize = 1 << 20;

impl Connection {
    /// Opens a connection whose first message has the given number.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub(super) fn open(seq: u32) -> Result<Connection, Error> {
        let socket = Socket::open(NlFamily::Generic).map_err(Error::Transport)?;
        Ok(Connection { socket, family: wire::CONTROLLER, seq })
    }

    /// The number the next message will have.
    pub(super) fn next_seq(&self) -> u32 {
        self.seq
    }

    /// Asks for a family's number and speaks to that family from now on; false when there is none.
    ///
    /// # Errors
    /// [`Error::Transport`], [`Error::Kernel`].
    pub(super) fn find_family(&mut self, name: &str) -> Result<bool, Error> {
        let request = encode::get_family(name).map_err(unspeakable)?;
        let addressed = std::mem::replace(&mut self.family, wire::CONTROLLER);
        let mut number = None;
        let outcome = self.batch(vec![request], |_, message| {
            number = Some(super::decode::family_number(message)?);
            Ok(())
        });
        self.family = addressed;
        match outcome?.first() {
            Some(r) if r.errno == rustix::io::Errno::NOENT.raw_os_error() => Ok(false),
            Some(r) => Err(Error::Kernel { what: format!("looking up {name}"), errno: r.errno }),
            None => {
                let number = number.ok_or_else(|| lost("the controller named no family number"))?;
                self.family = number;
                Ok(true)
            }
        }
    }

    /// Whether the family still has the number this connection speaks to.
    ///
    /// # Errors
    /// As [`Connection::find_family`].
    pub(super) fn is_current(&mut self, name: &str) -> Result<bool, Error> {
        let before = self.family;
        Ok(self.find_family(name)? && self.family == before)
    }

    /// Sends requests in one datagram, closed by a message that does nothing and is acknowledged. The kernel
    /// works them off in order and reports failures unasked, so its acknowledgement settles them all.
    /// `on_data` is told the request's index and the message's attributes.
    ///
    /// The requests themselves ask for no acknowledgement, for a kernel that ends one with EINTR says
    /// nothing at all: it does so when a sync daemon is stopped, and is, before its thread ever ran.
    ///
    /// # Errors
    /// [`Error::Transport`], when the outcome is unknown; otherwise the refused requests, ascending.
    pub(super) fn batch(
        &mut self,
        requests: Vec<Request>,
        mut on_data: impl FnMut(usize, &[u8]) -> Result<(), Malformed>,
    ) -> Result<Vec<Refused>, Error> {
        let last = requests.len();
        if last == 0 {
            return Ok(Vec::new());
        }
        let (first_seq, count) = (self.seq, last.saturating_add(1));
        let mut datagram = Cursor::new(Vec::new());
        for request in requests {
            encode::append(&mut datagram, self.family, NlmF::empty(), self.take_seq(), request)
                .map_err(unspeakable)?;
        }
        encode::append_full_stop(&mut datagram, self.take_seq()).map_err(unspeakable)?;
        self.socket.send(datagram.get_ref()).map_err(Error::Transport)?;
        let (mut refused, family) = (Vec::new(), self.family);
        for _ in 0..MOST_DATAGRAMS {
            for reply in replies(self.socket.receive().map_err(Error::Transport)?) {
                match reply.map_err(senseless)? {
                    Reply::Data { seq, kind, payload, .. } => {
                        let index = index(seq, first_seq, count)?;
                        on_data(index, attributes(family, kind, payload)?).map_err(senseless)?;
                    }
                    Reply::Verdict { seq, errno, text } => {
                        let index = index(seq, first_seq, count)?;
                        match (index == last, errno) {
                            (true, 0) => return Ok(refused),
                            (true, _) => return Err(lost("the kernel refused to do nothing")),
                            (false, 0) => {}
                            (false, _) => refused.push(Refused { index, errno, text }),
                        }
                    }
                    Reply::Done { .. } => return Err(lost("a dump ended that nobody asked for")),
                }
            }
        }
        Err(lost("an answer without end"))
    }

    /// Sends one dump request and hands every message's attributes to `on_data`.
    ///
    /// # Errors
    /// [`Error::Transport`].
    pub(super) fn dump(
        &mut self,
        request: Request,
        mut on_data: impl FnMut(&[u8]) -> Result<(), Malformed>,
    ) -> Result<DumpEnd, Error> {
        let first_seq = self.take_seq();
        let mut datagram = Cursor::new(Vec::new());
        encode::append(&mut datagram, self.family, NlmF::DUMP, first_seq, request).map_err(unspeakable)?;
        self.socket.send(datagram.get_ref()).map_err(Error::Transport)?;
        let (mut interrupted, family) = (false, self.family);
        for _ in 0..MOST_DATAGRAMS {
            for reply in replies(self.socket.receive().map_err(Error::Transport)?) {
                match reply.map_err(senseless)? {
                    Reply::Data { seq, kind, flags, payload } => {
                        index(seq, first_seq, 1)?;
                        interrupted |= flags & DUMP_INTERRUPTED != 0;
                        on_data(attributes(family, kind, payload)?).map_err(senseless)?;
                    }
                    Reply::Verdict { seq, errno, .. } => {
                        index(seq, first_seq, 1)?;
                        if errno != 0 {
                            return Ok(DumpEnd::Refused(errno));
                        }
                    }
                    Reply::Done { seq, flags, errno } => {
                        index(seq, first_seq, 1)?;
                        interrupted |= flags & DUMP_INTERRUPTED != 0;
                        return Ok(match errno {
                            0 if interrupted => DumpEnd::Interrupted,
                            0 => DumpEnd::Complete,
                            errno => DumpEnd::Refused(errno),
                        });
                    }
                }
            }
        }
        Err(lost("an answer without end"))
    }

    fn take_seq(&mut self) -> u32 {
        let seq = self.seq;
        self.seq = seq.wrapping_add(1);
        seq
    }
}

/// Which of `count` requests, the first of which is `first`, has this number.
fn index(seq: u32, first: u32, count: usize) -> Result<usize, Error> {
    usize::try_from(seq.wrapping_sub(first))
        .ok()
        .filter(|i| *i < count)
        .ok_or_else(|| lost("an answer to another request"))
}

fn lost(why: &str) -> Error {
    Error::Transport(why.to_owned())
}

fn senseless(e: Malformed) -> Error {
    Error::Transport(format!("an answer makes no sense: {e}"))
}

/// What follows the generic header of an answer of the family's.
fn attributes(family: u16, kind: u16, payload: &[u8]) -> Result<&[u8], Error> {
    if kind != family {
        return Err(lost("an answer came from another family"));
    }
    payload.get(GENERIC_HEADER..).ok_or_else(|| lost("an answer is cut off"))
}

fn unspeakable(e: Unencodable) -> Error {
    Error::Transport(format!("a request cannot be written: {}", e.text))
}

#[cfg(test)]
mod tests {
    //! The controller of generic netlink itself answers everybody, so these need no IPVS and no privilege.

    use super::*;

    #[test]
    fn a_family_that_exists_is_found_and_another_is_not() {
        let mut c = Connection::open(1).unwrap();
        assert_eq!(c.find_family("no-such-family"), Ok(false));
        assert_eq!(c.find_family("nlctrl"), Ok(true));
        assert_eq!(c.family, wire::CONTROLLER);
        assert_eq!(c.is_current("nlctrl"), Ok(true));
        assert_eq!(c.is_current("no-such-family"), Ok(false));
    }

    #[test]
    fn the_failures_of_a_batch_are_those_of_their_requests_also_when_the_numbers_wrap() {
        let mut c = Connection::open(u32::MAX - 1).unwrap();
        let known = || encode::get_family("nlctrl").unwrap();
        let unknown = || encode::get_family("no-such-family").unwrap();
        let mut answered = Vec::new();
        let refused = c
            .batch(vec![unknown(), known(), known(), unknown()], |i, _| {
                answered.push(i);
                Ok(())
            })
            .unwrap();
        let indices: Vec<_> = refused.iter().map(|r| (r.index, r.errno)).collect();
        assert_eq!(indices, [(0, 2), (3, 2)]);
        assert_eq!(answered, [1, 2]);
        assert_eq!(c.next_seq(), 3);
    }

    #[test]
    fn an_empty_batch_says_nothing_and_hears_nothing() {
        let mut c = Connection::open(7).unwrap();
        assert_eq!(c.batch(Vec::new(), |_, _| Ok(())), Ok(Vec::new()));
        assert_eq!(c.next_seq(), 7);
    }

    #[test]
    fn a_dump_ends_and_leaves_the_connection_ready_for_the_next_request() {
        let mut c = Connection::open(1).unwrap();
        let mut count = 0;
        // The controller's question without a name lists every family.
        let end = c.dump(encode::question(neli::consts::genl::CtrlCmd::Getfamily).unwrap(), |message| {
            count += 1;
            super::super::decode::family_number(message).map(drop)
        });
        assert_eq!(end, Ok(DumpEnd::Complete));
        assert!(count >= 1);
        assert_eq!(c.find_family("nlctrl"), Ok(true));
    }

    #[test]
    fn an_answer_to_an_earlier_request_is_never_taken_for_this_ones() {
        let mut c = Connection::open(1).unwrap();
        let mut stale = Cursor::new(Vec::new());
        let earlier = encode::get_family("nlctrl").unwrap();
        encode::append(&mut stale, wire::CONTROLLER, NlmF::empty(), 900, earlier).unwrap();
        c.socket.send(stale.get_ref()).unwrap();
        let outcome = c.find_family("nlctrl");
        assert_eq!(outcome, Err(Error::Transport("an answer to another request".into())));
    }
}
