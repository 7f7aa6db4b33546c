//! Hours of the week, in UTC.

use std::fmt;

use countersign_pki::time::UnixTime;

use super::InvalidPolicy;

/// Some days of the week, from one time of day to another, in UTC: from the very second on, up to and without the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWindow {
    /// Bit 0 is Monday.
    days: u8,
    from_s: u32,
    to_s: u32,
}

impl TimeWindow {
    /// `days` of `mon`, …, `sun`, none given: each; `from` and `to` as `08:00`, `to` up to `24:00`.
    ///
    /// A window does not go over midnight: whether its day is that of its beginning or of its end, two people read in two ways.
    pub fn parse(days: &[String], from: &str, to: &str) -> Result<Self, InvalidPolicy> {
        let refuse = |why: String| InvalidPolicy::new(format!("{from}–{to}"), why);
        let mut set = 0;
        for written in days {
            let day = DAYS.iter().position(|day| day == written).ok_or_else(|| {
                refuse(format!(
                    "{written:?} is no day: they are {}",
                    DAYS.join(", ")
                ))
            })?;
            if set & (1 << day) != 0 {
                return Err(refuse(format!("it names {written} twice")));
            }
            set |= 1 << day;
        }
        let time = |written: &str| {
            time_of_day(written)
                .ok_or_else(|| refuse(format!("{written:?} is no time of day, such as 08:00")))
        };
        let (from_s, to_s) = (time(from)?, time(to)?);
        if from_s >= to_s {
            let why = "it can never hold: it ends before it begins; one that goes over midnight is two, up to 24:00 and from 00:00";
            return Err(refuse(why.to_owned()));
        }
        Ok(Self {
            days: if set == 0 { EVERY_DAY } else { set },
            from_s,
            to_s,
        })
    }

    /// Whether `now` is in it.
    pub fn contains(&self, now: UnixTime) -> bool {
        let (day, second) = (now.seconds() / DAY_S, now.seconds() % DAY_S);
        // 1970-01-01 was a Thursday, three days after a Monday.
        let weekday = (day + 3) % 7;
        self.days & (1 << weekday) != 0
            && (u64::from(self.from_s)..u64::from(self.to_s)).contains(&second)
    }

    /// Whether every moment of `other` is in it.
    pub(super) fn covers(&self, other: &Self) -> bool {
        other.days & !self.days == 0 && self.from_s <= other.from_s && other.to_s <= self.to_s
    }

    pub(super) fn bytes(&self) -> [u8; 9] {
        let mut bytes = [0; 9];
        bytes[0] = self.days;
        bytes[1..5].copy_from_slice(&self.from_s.to_be_bytes());
        bytes[5..].copy_from_slice(&self.to_s.to_be_bytes());
        bytes
    }
}

impl fmt::Display for TimeWindow {
    /// `mon|tue 08:00–18:00 UTC`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.days != EVERY_DAY {
            let days = DAYS.iter().enumerate();
            let named: Vec<&str> = days
                .filter(|(place, _)| self.days & (1 << place) != 0)
                .map(|(_, day)| *day)
                .collect();
            write!(f, "{} ", named.join("|"))?;
        }
        let minute = |second: u32| format!("{:02}:{:02}", second / 3600, second / 60 % 60);
        write!(f, "{}–{} UTC", minute(self.from_s), minute(self.to_s))
    }
}

fn time_of_day(written: &str) -> Option<u32> {
    let digits = |text: &str, most: u32| {
        let good = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u32 = good.then(|| text.parse().ok())??;
        (number <= most).then_some(number)
    };
    let (hours, minutes) = written.split_once(':')?;
    let (hours, minutes) = (digits(hours, 24)?, digits(minutes, 59)?);
    (hours < 24 || minutes == 0).then_some(hours * 3600 + minutes * 60)
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EVERY_DAY: u8 = 0b111_1111;
const DAY_S: u64 = 86_400;
