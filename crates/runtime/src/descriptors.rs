//! As many open files as the system allows.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one, and says what it is now (`None`: unlimited).
///
/// The soft one is often 1024, for the sake of programs that call select(2); nothing here does. Each connection through
/// a gateway takes two descriptors, so 1024 are exhausted by few clients.
pub fn raise_descriptor_limit() -> io::Result<Option<u64>> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return Ok(current);
    }
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised)?;
    Ok(maximum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_limit_becomes_the_hard_one() {
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        let low = Rlimit {
            current: Some(256),
            maximum,
        };
        setrlimit(Resource::Nofile, low).expect("a limit may be lowered");
        assert_eq!(raise_descriptor_limit().expect("may be raised"), maximum);
        assert_eq!(getrlimit(Resource::Nofile).current, maximum);
    }
}
