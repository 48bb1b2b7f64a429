//! Events and answers of any form, for `crate::fuzz`.

use super::{decode, tc, watch};
use crate::netlink::message::{Reply, replies};

/// Reads a datagram as events, then its messages, and its bytes as one message, as each kind there is.
pub(crate) fn reply(bytes: &[u8]) {
    let _ = watch::read(bytes);
    decode_everything(bytes);
    for reply in replies(bytes) {
        if let Ok(Reply::Data { payload, .. }) = reply {
            decode_everything(payload);
        }
    }
}

fn decode_everything(payload: &[u8]) {
    let _ = decode::link(payload);
    let _ = decode::address(payload);
    let _ = decode::neighbour(payload);
    let _ = decode::route(payload, &|index| Some(format!("eth{}", index.0)));
    let _ = decode::rule(payload);
    let _ = tc::tc_filter(payload);
}
