//! No copies of the memory: keys are in it.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// From here on this process leaves no core file, whatever ends it, and no other process of its user can read its memory
/// (ptrace(2), `/proc/PID/mem`); root still can.
///
/// The limit alone would not do: where `core_pattern` names a program, the kernel asks only whether the process is dumpable
/// (core(5)). Programs that it starts inherit the limit.
pub fn forbid() -> io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn nothing_is_dumped_and_nothing_can_be_again() {
        forbid().expect("less is always allowed");
        let limit = getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        assert_eq!(
            dumpable_behavior().expect("Linux"),
            DumpableBehavior::NotDumpable
        );
        forbid().expect("again");
    }
}
