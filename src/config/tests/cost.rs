//! What reading a large configuration costs, counted in allocations: numbers that no machine changes.

use std::fmt::Write as _;
use std::path::Path;

use allocation_counter::{AllocationInfo, measure};

use crate::config::Strictness;
use crate::config::load::load_from;
use crate::syntax::files::MemoryFiles;

const REAL_SERVERS: u64 = 10;
const LINES: u64 = 5 + REAL_SERVERS * 10 + 1;

/// More of it costs so much more, whatever the first virtual server costs.
#[test]
fn a_line_more_costs_a_fraction_of_an_allocation_and_a_real_server_a_kilobyte_or_two() {
    let (few, many) = (reading(100), reading(300));
    let lines = 200 * LINES;
    let each = |more: u64| more as f64 / lines as f64;
    let allocations = each(many.count_total - few.count_total);
    assert!(allocations < 0.6, "{allocations} allocations a line");
    let bytes = (many.bytes_max - few.bytes_max) / (200 * REAL_SERVERS);
    assert!(bytes < 1900, "{bytes} bytes a real server at the worst moment");
}

/// What reading takes that many virtual servers; the file's text apart.
fn reading(virtual_servers: u16) -> AllocationInfo {
    let files = MemoryFiles::new(&[("/k", &text(virtual_servers))]);
    let mut count = 0;
    let info = measure(|| {
        let loaded = load_from(&files, Path::new("/k"), Strictness::Strict);
        assert_eq!((loaded.diagnostics.errors(), loaded.diagnostics.warnings()), (0, 0));
        count = loaded.config.map_or(0, |config| config.virtual_servers.len());
    });
    assert_eq!(count, usize::from(virtual_servers));
    info
}

fn text(virtual_servers: u16) -> String {
    let mut text = String::new();
    for n in 0..virtual_servers {
        let [high, low] = n.to_be_bytes();
        let _ = write!(
            text,
            "virtual_server 10.0.{high}.{low} 80 {{\n    delay_loop 6\n    lb_algo wrr\n    lb_kind NAT\n    protocol TCP\n"
        );
        for real in 1..=REAL_SERVERS {
            let _ = write!(
                text,
                "    real_server 10.1.{high}.{real} {n} {{ # one of ten\n        weight 1\n        TCP_CHECK {{\n            \
                 connect_timeout 3\n            retry 3\n            delay_before_retry 1.5\n            \
                 connect_port 80\n            log_all_failures\n        }}\n    }}\n"
            );
        }
        text.push_str("}\n");
    }
    text
}
