//! Dates for people, in UTC.

const DAY: u64 = 86_400;

/// The day of a time in seconds since 1970: `2027-02-18`.
pub(crate) fn day(seconds: u64) -> String {
    // The calendar counted from March, so that the leap day is a year's last; 719,468 days from 0000-03-01.
    // 400 years are 146,097 days, a century of them 36,524, four years 1,461.
    let days = seconds / DAY + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year)
}

/// A time in seconds since 1970: `2027-02-18 13:45:06 UTC`.
pub(crate) fn moment(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
    format!("{} {hours:02}:{minutes:02}:{:02} UTC", day(seconds), seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar_and_of_its_leap_years() {
        for (seconds, date) in [
            (0, "1970-01-01"),
            (951_782_399, "2000-02-28"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (1_798_761_599, "2026-12-31"),
            (1_798_761_600, "2027-01-01"),
            (4_107_542_400, "2100-03-01"),
            (253_402_300_799, "9999-12-31"),
        ] {
            assert_eq!(day(seconds), date);
        }
        assert_eq!(moment(1_234_567_890), "2009-02-13 23:31:30 UTC");
        assert_eq!(day(u64::MAX).rsplit('-').count(), 3, "any date of a certificate can be shown");
    }
}
