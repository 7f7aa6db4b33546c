//! `countersign issue --dry-run`: what would be issued, what it comes from, and who would refuse it.

use std::fmt::Write as _;

use countersign_authority::api::{BecauseView, ObjectionView, PreviewResponse};
use countersign_pki::certificate::Certificate;
use countersign_pki::inspect::{self, CertificateView};
use countersign_pki::pem;
use countersign_pki::time::UnixTime;
use countersign_runtime::clock::{Clock, SystemClock};
use serde::Serialize;

use crate::fault::Fault;
use crate::output::{escaped, table};

#[derive(Debug, Serialize)]
pub(super) struct Preview {
    /// Always: nothing was issued.
    dry_run: bool,
    certificate: CertificateView,
    because: Vec<BecauseView>,
    objections: Vec<ObjectionView>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ignored: Vec<String>,
}

impl Preview {
    pub(super) fn of(response: PreviewResponse) -> Result<Self, Fault> {
        let blocks = pem::decode_all(response.unsigned_pem.as_bytes()).map_err(Fault::bug)?;
        let block = blocks.first().ok_or_else(|| Fault::bug("no PEM"))?;
        let certificate = Certificate::parse(&block.der).map_err(Fault::bug)?;
        let now = UnixTime::from_seconds(SystemClock.unix_seconds());
        Ok(Self {
            dry_run: true,
            certificate: inspect::certificate(&certificate, now),
            because: response.because,
            objections: response.objections,
            ignored: response.ignored,
        })
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = "nothing was issued; the certificate would say:\n\n".to_owned();
        let rows: Vec<Vec<String>> = self
            .because
            .iter()
            .map(|it| vec![it.field.clone(), it.value.clone(), it.why.clone()])
            .collect();
        text += &table(&["FIELD", "VALUE", "BECAUSE"], &rows);
        text += "\n\n";
        if !self.ignored.is_empty() {
            let ignored = escaped(&self.ignored.join(", "));
            writeln!(
                text,
                "{ignored} of the request would be ignored: the profile decides"
            )
            .expect("a String takes everything");
        }
        if self.objections.is_empty() {
            text += "no client is known that would refuse it\n";
        }
        for ObjectionView {
            client,
            why,
            source,
        } in &self.objections
        {
            let said = escaped(&format!("refused by {client}: {why} ({source})"));
            writeln!(text, "{said}").expect("a String takes everything");
        }
        text
    }
}
