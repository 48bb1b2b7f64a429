//! A message to the kernel: a protocol's header, then attributes.
//!
//! Numbers are in the host's byte order.

const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const REPLACE: u16 = 0x100;
pub(crate) const EXCLUSIVE: u16 = 0x200;
pub(crate) const CREATE: u16 = 0x400;

const HEADER: usize = 16;
const ATTRIBUTE_HEADER: usize = 4;
const NESTED: u16 = 0x8000;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `nlmsg_type`.
    kind: u16,
    flags: u16,
    body: Vec<u8>,
}

impl Request {
    /// A message of a type, with its protocol's header.
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Request {
        let mut this = Request { kind, flags: flags | REQUEST, body: header.to_vec() };
        this.pad();
        this
    }

    /// The same message with this type, and with these flags added.
    pub(crate) fn addressed(mut self, kind: u16, flags: u16) -> Request {
        self.kind = kind;
        self.flags |= flags;
        self
    }

    /// Adds an attribute.
    pub(crate) fn attribute(&mut self, kind: impl Into<u16>, payload: &[u8]) -> &mut Request {
        // Nothing we write comes near 64 KiB; the kernel would refuse what is cut here.
        let length = u16::try_from(payload.len().saturating_add(ATTRIBUTE_HEADER)).unwrap_or(u16::MAX);
        self.body.extend(length.to_ne_bytes());
        self.body.extend(kind.into().to_ne_bytes());
        self.body.extend(payload);
        self.pad();
        self
    }

    /// Adds an attribute of four bytes.
    pub(crate) fn number(&mut self, kind: impl Into<u16>, value: u32) -> &mut Request {
        self.attribute(kind, &value.to_ne_bytes())
    }

    /// Adds a text, closed by a NUL.
    pub(crate) fn text(&mut self, kind: impl Into<u16>, text: &str) -> &mut Request {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds an attribute made of attributes.
    pub(crate) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Request)) -> &mut Request {
        let mut inner = Request { kind: 0, flags: 0, body: Vec::new() };
        fill(&mut inner);
        self.attribute(kind | NESTED, &inner.body)
    }

    /// The same, where a value may have no form on the wire.
    pub(crate) fn try_nested<E>(
        &mut self,
        kind: impl Into<u16>,
        fill: impl FnOnce(&mut Request) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut outcome = Ok(());
        self.nested(kind.into(), |inner| outcome = fill(inner));
        outcome
    }

    /// What follows the message's own header.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Appends the whole message to a datagram.
    pub(crate) fn write(&self, datagram: &mut Vec<u8>, seq: u32) {
        let length = u32::try_from(self.body.len().saturating_add(HEADER)).unwrap_or(u32::MAX);
        datagram.extend(length.to_ne_bytes());
        datagram.extend(self.kind.to_ne_bytes());
        datagram.extend(self.flags.to_ne_bytes());
        datagram.extend(seq.to_ne_bytes());
        datagram.extend(0u32.to_ne_bytes());
        datagram.extend(&self.body);
    }

    fn pad(&mut self) {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::attribute::attributes;

    #[test]
    fn what_is_written_is_read_again() {
        let mut request = Request::new(20, CREATE | ACK, &[2, 24, 0, 0, 7, 0, 0, 0]);
        request.text(3_u16, "eth0").number(8_u16, 2).nested(18, |inner| {
            inner.attribute(1_u16, b"abc");
        });
        let mut datagram = Vec::new();
        request.write(&mut datagram, 9);
        assert_eq!(
            datagram.len(),
            usize::try_from(u32::from_ne_bytes(datagram[..4].try_into().unwrap())).unwrap()
        );
        assert_eq!(datagram[4..12], [20, 0, 5, 4, 9, 0, 0, 0]);
        let all: Vec<_> = attributes(&datagram[24..]).map(Result::unwrap).collect();
        assert_eq!(all.iter().map(|a| a.kind).collect::<Vec<_>>(), [3, 8, 18]);
        assert_eq!((all[0].text(), all[1].u32()), ("eth0".to_owned(), Ok(2)));
        assert_eq!(attributes(all[2].payload).next().unwrap().unwrap().payload, b"abc");
    }
}
