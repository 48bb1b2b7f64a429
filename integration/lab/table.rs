//! The kernel's IPVS table as `ipvsadm` reads it, in a form that compares.

use std::collections::BTreeMap;
use std::fmt;

use super::Verdict;
use super::host::Host;
use super::judge;
use super::wait::wait_for;
use std::time::Duration;

/// A host's table: services by ipvsadm's words for them (`-t 10.1.0.100:80`, `-f 7 -6`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table(pub BTreeMap<String, Service>);

/// A service: its options (`-s rr -p 50`) and destinations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Service {
    /// Everything after the address, as ipvsadm writes it.
    pub options: String,
    /// Options (`-g -w 1`) by address and port.
    pub destinations: BTreeMap<String, String>,
}

impl Table {
    /// Reads a host's table by `ipvsadm -Sn`.
    ///
    /// # Errors
    /// When ipvsadm fails or says something unknown.
    pub(crate) fn read(host: &Host) -> Result<Table, String> {
        Table::parse(&judge::output(host, &["ipvsadm", "-Sn"])?)
    }

    /// Parses `ipvsadm -Sn`'s form, which is also how scenarios write what they expect.
    ///
    /// # Errors
    /// A line that is neither a service nor a destination of one.
    pub(crate) fn parse(text: &str) -> Result<Table, String> {
        let mut table = Table::default();
        for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
            let unknown = || format!("ipvsadm -Sn: {line:?}");
            let words: Vec<&str> = line.split_whitespace().collect();
            let [verb, kind, address, rest @ ..] = &words[..] else { return Err(unknown()) };
            let (six, rest) = match rest {
                ["-6", rest @ ..] if *kind == "-f" => (" -6", rest),
                rest => ("", rest),
            };
            let key = format!("{kind} {address}{six}");
            match (*verb, rest) {
                ("-A", options) => {
                    table.0.entry(key).or_default().options = options.join(" ");
                }
                ("-a", ["-r", destination, options @ ..]) => {
                    let service = table.0.get_mut(&key).ok_or_else(unknown)?;
                    service.destinations.insert((*destination).to_owned(), options.join(" "));
                }
                _ => return Err(unknown()),
            }
        }
        Ok(table)
    }

    /// This table and another's services.
    #[must_use]
    pub(crate) fn with(mut self, other: &Table) -> Table {
        self.0.extend(other.0.clone());
        self
    }

    /// The destinations of a service that get new connections (weight above 0), e.g. `10.1.0.21:80`.
    pub(crate) fn serving(&self, service: &str) -> Vec<&str> {
        let destinations = self.0.get(service).map(|s| &s.destinations);
        destinations
            .into_iter()
            .flatten()
            .filter(|(_, options)| !format!("{options} ").contains("-w 0 "))
            .map(|(key, _)| key.as_str())
            .collect()
    }

    /// Services and destinations.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.values().map(|s| s.destinations.len()).sum())
    }
}

impl fmt::Display for Table {
    /// As `ipvsadm -Sn` writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("(an empty table)");
        }
        for (key, service) in &self.0 {
            writeln!(f, "-A {key} {}", service.options)?;
            for (destination, options) in &service.destinations {
                writeln!(f, "-a {key} -r {destination} {options}")?;
            }
        }
        Ok(())
    }
}

/// Waits until a host's table is exactly `want` (`ipvsadm -Sn` form).
///
/// # Errors
/// At the deadline, with the table that was there instead.
pub(crate) fn wait_for_table(host: &Host, what: &str, deadline: Duration, want: &Table) -> Verdict {
    wait_for(what, deadline, || {
        let table = Table::read(host)?;
        if table == *want { Ok(()) } else { Err(format!("{table}\nwanted:\n{want}")) }
    })
}

/// Runs `ipvsadm` in a host, e.g. as a stranger who edits its table.
///
/// # Errors
/// What ipvsadm said.
pub(crate) fn ipvsadm(host: &Host, arguments: &str) -> Verdict {
    let mut command = vec!["ipvsadm"];
    command.extend(arguments.split_whitespace());
    judge::output(host, &command).map(drop)
}

/// Loads a table in `ipvsadm -Sn` form, adding to what is there.
///
/// # Errors
/// What ipvsadm said.
pub(crate) fn load(host: &Host, lines: &str) -> Verdict {
    host.enter(|| judge::run_with_input(&["ipvsadm", "-R"], lines).map(drop))
}
