//! `enable_script_security`: whether anybody but root could change what root is about to run.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// Looks at a program and at every folder above it, links followed.
///
/// # Errors
/// In words, naming the first part that somebody else may write.
pub fn verify(program: &Path) -> Result<(), String> {
    let real = fs::canonicalize(program).map_err(|error| format!("{}: {error}", program.display()))?;
    for part in real.ancestors() {
        let found = fs::metadata(part).map_err(|error| format!("{}: {error}", part.display()))?;
        let is_roots = found.uid() == 0;
        // In a sticky folder others cannot replace what is root's, and that is looked at, too.
        let is_open = found.mode() & OTHERS_WRITE != 0 && !(found.is_dir() && found.mode() & STICKY != 0);
        let is_groups = found.mode() & GROUP_WRITES != 0
            && found.gid() != 0
            && !(found.is_dir() && found.mode() & STICKY != 0);
        if !is_roots || is_open || is_groups {
            let part = part.display();
            return Err(format!(
                "enable_script_security: {part} can be changed by others than root, and the script would run as root"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_others_can_write_does_not_run_as_root() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        assert_eq!(verify(Path::new("/bin/sh")), Ok(()));
        let folder = std::env::temp_dir().join(format!("lvsd-trust-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let script = folder.join("script");
        fs::write(&script, "#!/bin/sh\n").unwrap();
        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        mode(&script, 0o755);
        mode(&folder, 0o755);
        assert_eq!(verify(&script), Ok(()), "a sticky /tmp above is no harm");
        mode(&script, 0o757);
        assert!(verify(&script).unwrap_err().contains("script can be changed by others"));
        mode(&script, 0o755);
        mode(&folder, 0o777);
        assert!(verify(&script).is_err(), "whoever writes the folder replaces the script");
        mode(&folder, 0o755);
        std::os::unix::fs::chown(&script, Some(12345), None).unwrap();
        assert!(verify(&script).is_err(), "its owner may change it");
        fs::remove_dir_all(&folder).unwrap();
    }
}
