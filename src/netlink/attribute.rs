//! Netlink attributes as they arrive: a walk over bytes that trusts no length.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why a reply makes no sense, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Attribute<'a> {
    /// Its type, without the nested and byte order bits.
    pub(crate) kind: u16,
    /// Its content, without padding.
    pub(crate) payload: &'a [u8],
}

/// A walk over the attributes in `bytes`; ends after the first malformed one.
pub(crate) fn attributes(bytes: &[u8]) -> Attributes<'_> {
    Attributes { rest: bytes }
}

/// See [`attributes`].
pub(crate) struct Attributes<'a> {
    rest: &'a [u8],
}

const HEADER: usize = 4;
/// NLA_TYPE_MASK: the type less NLA_F_NESTED and NLA_F_NET_BYTEORDER.
const TYPE_MASK: u16 = 0x3fff;

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<Attribute<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let whole = std::mem::take(&mut self.rest);
        let (Ok(len), Ok(kind)) = (take_u16(whole, 0), take_u16(whole, 2)) else {
            return Some(Err(Malformed("an attribute's header is cut off")));
        };
        let len = usize::from(len);
        let Some(payload) = whole.get(HEADER..len) else {
            return Some(Err(Malformed(
                "an attribute is longer than its message, or shorter than its header",
            )));
        };
        self.rest = whole.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(Ok(Attribute { kind: kind & TYPE_MASK, payload }))
    }
}

impl Attribute<'_> {
    /// An unsigned byte.
    pub(crate) fn u8(&self) -> Result<u8, Malformed> {
        self.payload.first().copied().ok_or(SHORT)
    }

    /// Two bytes, host order.
    pub(crate) fn u16(&self) -> Result<u16, Malformed> {
        take_u16(self.payload, 0)
    }

    /// Two bytes, network order.
    pub(crate) fn port(&self) -> Result<u16, Malformed> {
        Ok(u16::from_be(self.u16()?))
    }

    /// Four bytes, host order.
    pub(crate) fn u32(&self) -> Result<u32, Malformed> {
        take_u32(self.payload, 0)
    }

    /// Eight bytes, host order.
    pub(crate) fn u64(&self) -> Result<u64, Malformed> {
        Ok(u64::from_ne_bytes(*self.payload.first_chunk().ok_or(SHORT)?))
    }

    /// A 32-bit counter of old or a 64-bit one, whichever it is by its length.
    pub(crate) fn counter(&self) -> Result<u64, Malformed> {
        if self.payload.len() < 8 { self.u32().map(u64::from) } else { self.u64() }
    }

    /// An IPv4 address, perhaps with more behind it.
    pub(crate) fn ipv4(&self) -> Result<Ipv4Addr, Malformed> {
        Ok(Ipv4Addr::from(*self.payload.first_chunk::<4>().ok_or(SHORT)?))
    }

    /// An IPv6 address.
    pub(crate) fn ipv6(&self) -> Result<Ipv6Addr, Malformed> {
        Ok(Ipv6Addr::from(*self.payload.first_chunk::<16>().ok_or(SHORT)?))
    }

    /// Text up to the first NUL; bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn text(&self) -> String {
        let end = self.payload.iter().position(|b| *b == 0).unwrap_or(self.payload.len());
        String::from_utf8_lossy(self.payload.get(..end).unwrap_or_default()).into_owned()
    }
}

const SHORT: Malformed = Malformed("an attribute is shorter than its type says");

/// Two bytes at `at`, host order.
pub(crate) fn take_u16(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    let tail = bytes.get(at..).ok_or(SHORT)?;
    Ok(u16::from_ne_bytes(*tail.first_chunk().ok_or(SHORT)?))
}

/// Four bytes at `at`, host order.
pub(crate) fn take_u32(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    let tail = bytes.get(at..).ok_or(SHORT)?;
    Ok(u32::from_ne_bytes(*tail.first_chunk().ok_or(SHORT)?))
}
