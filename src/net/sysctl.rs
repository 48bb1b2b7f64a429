//! The kernel's settings (sysctl), by the names below /proc/sys with dots: `net.ipv4.vs.expire_nodest_conn`.
//!
//! Those below `net` are those of the network namespace of the thread that asks.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Longest value that is read, in bytes.
const LIMIT: u64 = 4096;

/// A setting's value, without blanks at its ends and with one blank between its numbers.
///
/// # Errors
/// When this kernel has no such setting, or the name is none.
pub fn read(name: &str) -> io::Result<String> {
    read_file(&path(name)?)
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(LIMIT).read_to_string(&mut text)?;
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// Sets a setting.
///
/// # Errors
/// When this kernel has no such setting, refuses the value or the permission, or the name is none.
pub fn write(name: &str, value: &str) -> io::Result<()> {
    fs::write(path(name)?, value)
}

/// A link's setting: `of_link("ipv4", "vrrp.51", "rp_filter")`; the link may be `all` or `default`.
///
/// # Errors
/// As [`read`].
pub fn read_of_link(family: &str, link: &str, name: &str) -> io::Result<String> {
    read_file(&link_path(family, link, name)?)
}

/// Sets a link's setting.
///
/// # Errors
/// As [`write`].
pub fn write_of_link(family: &str, link: &str, name: &str, value: &str) -> io::Result<()> {
    fs::write(link_path(family, link, name)?, value)
}

/// A link's name may have dots, so it is no part of a dotted name.
fn link_path(family: &str, link: &str, name: &str) -> io::Result<PathBuf> {
    if link.is_empty() || link.starts_with('.') || link.contains(['/', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{link:?} is no link's name")));
    }
    Ok(path("net")?.join(path_part(family)?).join("conf").join(link).join(path_part(name)?))
}

fn path_part(word: &str) -> io::Result<PathBuf> {
    path(word)?.strip_prefix("/proc/sys").map(PathBuf::from).map_err(io::Error::other)
}

/// A name must not lead anywhere else.
fn path(name: &str) -> io::Result<PathBuf> {
    let is_word = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    if !name.split('.').all(is_word) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no setting's name")));
    }
    Ok(PathBuf::from("/proc/sys").join(name.replace('.', "/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_read_and_a_name_that_leads_elsewhere_is_refused() {
        assert!(!read("kernel.ostype").unwrap().is_empty());
        assert_eq!(read("net.ipv4.no_such_setting").unwrap_err().kind(), io::ErrorKind::NotFound);
        for name in ["", "net..x", "net/../../etc/passwd", "..kernel", "net.ipv4.vs x"] {
            assert_eq!(read(name).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
            assert_eq!(write(name, "1").unwrap_err().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
        assert!(!read_of_link("ipv4", "lo", "rp_filter").unwrap().is_empty());
        for link in ["", "..", "../..", "a/b"] {
            let error = read_of_link("ipv4", link, "rp_filter").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{link:?}");
        }
    }
}
