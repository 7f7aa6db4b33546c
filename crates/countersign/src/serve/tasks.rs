//! The tasks of the control plane: named, and each one's result is why the process must stop.

use tokio::task::{Id, JoinSet};

use crate::fault::Fault;

/// What runs beside the data plane until the process ends.
#[derive(Default)]
pub(crate) struct Tasks {
    running: JoinSet<Fault>,
    names: Vec<(Id, &'static str)>,
}

impl Tasks {
    /// Starts `work`, which says why it ended if it does.
    pub(crate) fn spawn(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Fault> + Send + 'static,
    ) {
        let handle = self.running.spawn(work);
        self.names.push((handle.id(), name));
    }

    /// Starts `work`, which has no reason to end before the process does.
    pub(crate) fn spawn_endless(
        &mut self,
        name: &'static str,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        self.spawn(name, async move {
            work.await;
            Fault::bug(format_args!("{name} ended"))
        });
    }

    /// Waits for the first that ends, which none should. Cancel-safe.
    pub(crate) async fn first_to_end(&mut self) -> Fault {
        match self.running.join_next().await {
            Some(Ok(fault)) => fault,
            Some(Err(error)) => {
                let name = self.names.iter().find(|(id, _)| *id == error.id());
                Fault::bug(format_args!(
                    "{} failed: {error}",
                    name.map_or("a task", |(_, name)| name)
                ))
            }
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn task_that_ends_is_named() {
        let mut tasks = Tasks::default();
        tasks.spawn_endless("the feed", async {});
        let fault = tasks.first_to_end().await;
        assert_eq!(
            (fault.exit_code(), fault.sentence()),
            (70, "the feed ended")
        );
    }

    #[tokio::test]
    async fn task_that_says_why_is_quoted() {
        let mut tasks = Tasks::default();
        tasks.spawn_endless("renewal", std::future::pending());
        tasks.spawn("unsealing", async {
            Fault::configuration("wrong passphrase")
        });
        assert_eq!(
            tasks.first_to_end().await,
            Fault::configuration("wrong passphrase")
        );
    }
}
