//! Pages that name a test for each thing that must stay true; a name without a test guards nothing.

/// Says which names in the tables of `page`, which is called `name`, are those of no function in `sources`.
pub(crate) fn check<'a>(
    name: &'a str,
    page: &str,
    sources: impl Iterator<Item = &'a str> + Clone,
) -> impl Iterator<Item = String> {
    let guards: Vec<String> = page
        .lines()
        .filter(|line| line.starts_with('|'))
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|name| is_test_name(name))
        .map(str::to_owned)
        .collect();
    let none = guards
        .is_empty()
        .then(|| format!("{name}: no line names a test"));
    let missing = guards.into_iter().filter_map(move |guard| {
        let definition = format!("fn {guard}(");
        let is_there = sources.clone().any(|text| text.contains(&definition));
        (!is_there).then(|| format!("{name}: there is no test {guard}"))
    });
    none.into_iter().chain(missing)
}

/// Behaviours take at least four words.
fn is_test_name(name: &str) -> bool {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    name.matches('_').count() >= 3 && name.bytes().all(letters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(page: &str) -> Vec<String> {
        check(
            "PAGE.md",
            page,
            ["fn a_b_c_d() {}", "async fn e_f_g_h() {}"].into_iter(),
        )
        .collect()
    }

    #[test]
    fn named_test_must_exist() {
        assert!(faults("| 1 | x | `a_b_c_d`, `e_f_g_h`; `tls::Acceptor` |").is_empty());
        assert_eq!(
            faults("| 1 | x | `a_b_c_d`, `a_b_c_e` |"),
            ["PAGE.md: there is no test a_b_c_e"]
        );
        // A part of a name is not the name.
        assert_eq!(faults("| 1 | x | `b_c_d_x` |").len(), 1);
    }

    #[test]
    fn page_without_guards_is_a_fault() {
        assert_eq!(faults("# Architecture\n").len(), 1);
    }
}
