//! What clap has to say of a command line.

use clap::error::ErrorKind;

use crate::fault::{Answer, Fault};
use crate::output::print;

/// Help and version are answers; the rest is told in clap's words and our form.
pub(crate) fn answer(error: &clap::Error) -> Result<Answer, Fault> {
    let rendered = error.render().to_string();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            return print(&rendered).map(|()| Answer::Yes);
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            return Err(
                Fault::configuration("a command is missing").hint("`--help` lists the commands")
            );
        }
        _ => {}
    }
    let mut lines = rendered
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let sentence = lines.next().unwrap_or("the arguments cannot be read");
    let details: Vec<&str> = lines
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .collect();
    let fault = Fault::configuration(
        [&[sentence.trim_start_matches("error: ")], &details[..]]
            .concat()
            .join(" "),
    );
    Err(fault.hint("`countersign --help` lists the commands, `countersign COMMAND --help` the arguments of one"))
}
