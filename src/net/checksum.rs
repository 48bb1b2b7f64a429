//! The Internet's checksum (RFC 1071) over messages, with and without the pseudo headers of IPv4 and IPv6.

use std::net::IpAddr;

/// The ones' complement sum of pieces, each of which is padded to an even length by itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum(u64);

impl Sum {
    /// This, and bytes.
    pub(crate) fn with(mut self, bytes: &[u8]) -> Sum {
        for pair in bytes.chunks(2) {
            let high = pair.first().copied().unwrap_or(0);
            let low = pair.get(1).copied().unwrap_or(0);
            self.0 += u64::from(u16::from_be_bytes([high, low]));
        }
        self
    }

    /// This, and the pseudo header of a message of `length` bytes.
    pub(crate) fn with_pseudo_header(
        self,
        source: IpAddr,
        destination: IpAddr,
        protocol: u8,
        length: usize,
    ) -> Sum {
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let sum = self.with_address(source).with_address(destination);
        sum.with(&length).with(&[0, protocol])
    }

    fn with_address(self, ip: IpAddr) -> Sum {
        match ip {
            IpAddr::V4(ip) => self.with(&ip.octets()),
            IpAddr::V6(ip) => self.with(&ip.octets()),
        }
    }

    /// What to write so that the whole sums up to all ones.
    pub(crate) fn complement(self) -> u16 {
        !self.folded()
    }

    /// Whether a checksum that was part of it fits.
    pub(crate) fn is_fine(self) -> bool {
        self.folded() == u16::MAX
    }

    fn folded(self) -> u16 {
        let mut sum = self.0;
        while let (carry @ 1.., low) = (sum >> 16, sum & 0xffff) {
            sum = carry + low;
        }
        u16::try_from(sum).unwrap_or(u16::MAX)
    }
}
