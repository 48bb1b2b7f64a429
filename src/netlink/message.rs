//! Netlink messages as they arrive: splits a datagram into replies, reads acknowledgements by hand.
//!
//! By hand, because the echo inside an error may be incomplete, and an acknowledgement is only twenty bytes.

use super::attribute::{Malformed, attributes, take_u16, take_u32};

/// One message of the kernel's.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply<'a> {
    /// Part of an answer.
    Data {
        /// Sequence number of the request.
        seq: u32,
        /// `nlmsg_type`: for generic netlink the family.
        kind: u16,
        flags: u16,
        /// What follows the header.
        payload: &'a [u8],
    },
    /// A request was done, or refused (NLMSG_ERROR).
    Ack {
        /// Sequence number of the request.
        seq: u32,
        /// 0 when it was done, else the positive errno.
        errno: i32,
        /// What the kernel says about it (NLMSGERR_ATTR_MSG).
        text: Option<String>,
    },
    /// The end of a dump.
    Done {
        /// Sequence number of the request.
        seq: u32,
        flags: u16,
        /// 0 when it is complete, else the positive errno.
        errno: i32,
    },
}

/// The messages of one datagram; ends after the first malformed one.
pub(crate) fn replies(datagram: &[u8]) -> Replies<'_> {
    Replies { rest: datagram }
}

/// See [`replies`].
pub(crate) struct Replies<'a> {
    rest: &'a [u8],
}

const HEADER: usize = 16;

/// NLMSG_NOOP: a message that does nothing.
pub(crate) const NOOP: u16 = 1;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Types below this one are netlink's own (NLMSG_MIN_TYPE).
const FIRST_FAMILY: u16 = 0x10;

pub(crate) const DUMP_INTERRUPTED: u16 = 0x10;
/// NLM_F_CAPPED: the echo in an error is the header only.
const CAPPED: u16 = 0x100;
/// NLM_F_ACK_TLVS: attributes follow the echo.
const ACK_ATTRIBUTES: u16 = 0x200;
const MESSAGE: u16 = 1;
/// Most characters of the kernel's text we pass on.
const TEXT_LIMIT: usize = 512;

impl<'a> Iterator for Replies<'a> {
    type Item = Result<Reply<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let whole = std::mem::take(&mut self.rest);
            match split(whole) {
                Ok((message, rest)) => {
                    self.rest = rest;
                    match read(message) {
                        Ok(Some(reply)) => return Some(Ok(reply)),
                        Ok(None) => {}
                        Err(e) => return Some(Err(e)),
                    }
                }
                Err(e) => return Some(Err(e)),
            }
        }
        None
    }
}

/// The first message, header included, and what follows it.
fn split(bytes: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let len = usize::try_from(take_u32(bytes, 0)?).map_err(|_| CUT)?;
    let message = bytes.get(..len).filter(|m| m.len() >= HEADER).ok_or(CUT)?;
    Ok((message, bytes.get(len.next_multiple_of(4)..).unwrap_or_default()))
}

fn read(message: &[u8]) -> Result<Option<Reply<'_>>, Malformed> {
    let (kind, flags, seq) = (take_u16(message, 4)?, take_u16(message, 6)?, take_u32(message, 8)?);
    let payload = message.get(HEADER..).ok_or(CUT)?;
    Ok(match kind {
        NOOP => None,
        ERROR => Some(Reply::Ack { seq, errno: errno(take_u32(payload, 0)?), text: text(payload, flags)? }),
        // The oldest kernels end a dump without a code.
        DONE if payload.len() < 4 => Some(Reply::Done { seq, flags, errno: 0 }),
        DONE => Some(Reply::Done { seq, flags, errno: errno(take_u32(payload, 0)?) }),
        kind if kind >= FIRST_FAMILY => Some(Reply::Data { seq, kind, flags, payload }),
        _ => return Err(Malformed("a message of a type netlink does not define, or data was lost")),
    })
}

/// The positive errno of a code that is 0 or negative on the wire.
fn errno(code: u32) -> i32 {
    code.cast_signed().checked_neg().unwrap_or(i32::MAX)
}

/// The kernel's text behind the echo of the request, which follows the code.
fn text(payload: &[u8], flags: u16) -> Result<Option<String>, Malformed> {
    if flags & ACK_ATTRIBUTES == 0 {
        return Ok(None);
    }
    let echo = if flags & CAPPED == 0 { take_u32(payload, 4)? } else { 16 };
    let after = usize::try_from(echo).map_err(|_| CUT)?.checked_add(4).ok_or(CUT)?.next_multiple_of(4);
    for attribute in attributes(payload.get(after..).ok_or(CUT)?) {
        let attribute = attribute?;
        if attribute.kind == MESSAGE {
            return Ok(Some(attribute.text().chars().take(TEXT_LIMIT).collect()));
        }
    }
    Ok(None)
}

const CUT: Malformed = Malformed("a message is cut off");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_is_a_verdict_of_zero() {
        let bytes = message(ERROR, 0, 7, &[0; 20]);
        assert_eq!(one(&bytes), Reply::Ack { seq: 7, errno: 0, text: None });
    }

    #[test]
    fn an_error_gives_its_number_and_the_kernels_text_behind_the_echo() {
        let mut payload = (-22i32).to_ne_bytes().to_vec();
        payload.extend(message(28, 5, 9, &[1, 1, 0, 0, 0xaa, 0xbb, 0xcc, 0xdd]));
        payload.extend([9, 0, 1, 0, b'w', b'h', b'y', b'?', 0, 0, 0, 0]);
        let bytes = message(ERROR, ACK_ATTRIBUTES, 9, &payload);
        assert_eq!(one(&bytes), Reply::Ack { seq: 9, errno: 22, text: Some("why?".into()) });
    }

    #[test]
    fn an_error_with_a_capped_echo_gives_its_text_too() {
        let mut payload = (-1i32).to_ne_bytes().to_vec();
        payload.extend(message(28, 5, 9, &[0; 84]).get(..16).unwrap());
        payload.extend([7, 0, 1, 0, b'n', b'o', 0, 0]);
        let bytes = message(ERROR, ACK_ATTRIBUTES | CAPPED, 9, &payload);
        assert_eq!(one(&bytes), Reply::Ack { seq: 9, errno: 1, text: Some("no".into()) });
    }

    #[test]
    fn a_datagram_may_hold_data_and_the_end_of_the_dump() {
        let mut bytes = message(28, 2, 3, &[1, 1, 0, 0, 4, 0, 1, 0]);
        bytes.extend(message(DONE, 2 | DUMP_INTERRUPTED, 3, &0i32.to_ne_bytes()));
        let all: Vec<_> = replies(&bytes).collect();
        assert_eq!(
            all,
            [
                Ok(Reply::Data { seq: 3, kind: 28, flags: 2, payload: &[1, 1, 0, 0, 4, 0, 1, 0] }),
                Ok(Reply::Done { seq: 3, flags: 0x12, errno: 0 }),
            ]
        );
    }

    #[test]
    fn a_length_that_lies_ends_the_walk_with_an_error() {
        for len in [0u32, 1, 15, 17, u32::MAX] {
            let mut bytes = message(ERROR, 0, 7, &[0; 20]);
            bytes.truncate(16);
            bytes[..4].copy_from_slice(&len.to_ne_bytes());
            let all: Vec<_> = replies(&bytes).collect();
            assert_eq!(all, [Err(CUT)], "length {len}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_run_on(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            assert!(replies(&bytes).count() <= bytes.len());
        }
    }

    fn one(bytes: &[u8]) -> Reply<'_> {
        let mut all = replies(bytes);
        let first = all.next().unwrap().unwrap();
        assert!(all.next().is_none());
        first
    }

    fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER + payload.len()).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(seq.to_ne_bytes());
        bytes.extend([0; 4]);
        bytes.extend(payload);
        bytes
    }
}
