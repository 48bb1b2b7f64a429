//! UDP_CHECK.

use std::net::IpAddr;

use super::{Ask, CheckerBlock, CheckerForm, ConnectionOptions, Inherited, yaml_type};
use crate::check::spec::Question;
use crate::check::spec::udp::{MaskedByte, UdpQuestion, WantedReply};
use crate::config::options::options;
use crate::config::timing::TimingOptions;
use crate::syntax::keyword::{Reader, Slot, Table, get};
use crate::syntax::tree::Node;
use crate::syntax::value::Wrong;

options! {
    /// UDP_CHECK as it was written.
    pub(in crate::config) struct UdpCheck {
        /// What to send, in hexadecimal.
        payload: Slot<Vec<MaskedByte>> = words(=> payload; "payload", HEX, 1, MAX_WORDS);
        /// A reply must come; what it must begin with, in hexadecimal, x being any digit.
        reply: Slot<Vec<MaskedByte>> = words(=> reply; "require_reply", PATTERN, 0, MAX_WORDS);
        /// Fewest bytes of the reply.
        min_length: Slot<u32> = number("min_reply_length", 0, u16::MAX as u32);
        /// Most bytes of the reply.
        max_length: Slot<u32> = number("max_reply_length", 0, u16::MAX as u32);
    }
}

const HEX: &str = "hexadecimal digits, two for each byte, e.g. 00ff";
const PATTERN: &str = "nothing, or hexadecimal digits, two for each byte, x being any digit, e.g. 0xff8x";
const MAX_WORDS: usize = 1024;
/// keepalived's, where a reply is compared.
const MAX_REPLY: u16 = 255;
/// What is sent where nothing is written: 32 bytes, as many as keepalived sends.
const PAYLOAD: &[u8; 32] = b"lvsd check: UDP, please ignore. ";

fn payload(slot: &mut Slot<Vec<MaskedByte>>, node: &Node, reader: &mut Reader<'_>) {
    read_bytes(slot, node, reader, ("payload", HEX, false));
}

fn reply(slot: &mut Slot<Vec<MaskedByte>>, node: &Node, reader: &mut Reader<'_>) {
    read_bytes(slot, node, reader, ("require_reply", PATTERN, true));
}

fn read_bytes(
    slot: &mut Slot<Vec<MaskedByte>>,
    node: &Node,
    reader: &mut Reader<'_>,
    (name, what, may_be_any): (&'static str, &'static str, bool),
) {
    let mut bytes = Vec::new();
    for word in &node.values {
        let digits: Option<Vec<MaskedByte>> = word.chars().map(|c| digit(c, may_be_any)).collect();
        let pairs = digits.as_deref().map(<[MaskedByte]>::as_chunks);
        let Some((pairs, [])) = pairs else {
            return reader.wrong(name, word, what, Wrong::Malformed(None));
        };
        bytes.extend(pairs.iter().map(|[high, low]| MaskedByte {
            value: high.value << 4 | low.value,
            mask: high.mask << 4 | low.mask,
        }));
    }
    reader.store(slot, node, bytes);
}

/// A digit, as the lower half of a byte.
fn digit(c: char, may_be_any: bool) -> Option<MaskedByte> {
    match c.to_digit(16) {
        Some(value) => u8::try_from(value).ok().map(|value| MaskedByte { value, mask: 0xf }),
        None => (may_be_any && matches!(c, 'x' | 'X')).then_some(MaskedByte { value: 0, mask: 0 }),
    }
}

impl CheckerForm for UdpCheck {
    const KEYWORD: &'static str = "UDP_CHECK";
    const TYPE: &'static str = "udp";
    const EXAMPLE: &'static str = "`check: {type: udp}`";
    const DOC: &'static str = "Up while a datagram is answered, or not refused.";
    const TABLE: Table<CheckerBlock<UdpCheck>> = Table::of(
        "UDP_CHECK",
        "a check of type udp",
        &[ConnectionOptions::keywords(), TimingOptions::keywords(), UdpCheck::keywords(), &[yaml_type()]],
    );
}

impl Ask for UdpCheck {
    fn question(&self, _: IpAddr, _: &Inherited<'_>, _: &mut Reader<'_>) -> Option<Question> {
        let length = |slot: &Slot<u32>| get(slot).and_then(|n| u16::try_from(n).ok());
        let reply = self.reply.as_ref().map(|written| {
            // Default lengths count only where the reply is compared, as keepalived has it.
            let max = if written.value.is_empty() { u16::MAX } else { MAX_REPLY };
            WantedReply {
                begins: written.value.clone().into(),
                min_length: length(&self.min_length).unwrap_or(0),
                max_length: length(&self.max_length).unwrap_or(max),
            }
        });
        let payload = match &self.payload {
            Some(written) => written.value.iter().map(|byte| byte.value).collect(),
            None => PAYLOAD.as_slice().into(),
        };
        Some(Question::Udp(Box::new(UdpQuestion { payload, reply })))
    }
}
