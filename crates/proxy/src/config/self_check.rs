//! How often the gateway may look at itself.

use countersign_runtime::config::ConfigError;
use countersign_runtime::config::amount::TimeSpan;

use crate::config::GatewayConfig;

impl GatewayConfig {
    /// Each look has four certificates issued, which stay in the inventory for days.
    pub(super) fn check_self_check(&self) -> Result<(), ConfigError> {
        let every = self.self_check;
        if every.duration().is_zero() || every >= SHORTEST_SELF_CHECK {
            return Ok(());
        }
        let why = format!(
            "{every} is shorter than {SHORTEST_SELF_CHECK}, and each check issues four certificates"
        );
        Err(ConfigError::new("gateway.self_check", why)
            .hint("use \"1m\" or longer, or \"0s\" for never; `countersign scan --config FILE` looks at once"))
    }
}

/// 40,000 canaries a week, at some hundred handshakes a minute.
const SHORTEST_SELF_CHECK: TimeSpan = TimeSpan::from_seconds(60);
