//! Answers of any form, for `crate::fuzz`.

use super::decode;
use crate::ipvs::types::Family;
use crate::netlink::generic::family_number;
use crate::netlink::message::{Reply, replies};

/// Reads a datagram, and its bytes as attributes of each kind of answer.
pub(crate) fn reply(bytes: &[u8]) {
    decode_everything(bytes);
    for reply in replies(bytes) {
        if let Ok(Reply::Data { payload, .. }) = reply {
            decode_everything(payload);
        }
    }
}

/// Every decoder on the same attributes.
pub(super) fn decode_everything(message: &[u8]) {
    let _ = decode::service_key(message);
    let _ = decode::service(message);
    let _ = decode::destination(message, Family::Inet);
    let _ = decode::destination(message, Family::Inet6);
    let _ = decode::sync_daemon(message);
    let _ = decode::timeouts(message);
    let _ = decode::info(message);
    let _ = family_number(message);
}
