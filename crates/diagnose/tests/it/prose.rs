//! What the text of a cause's page has to be: the five sections in their order, each with something in it, and at its end
//! the causes that look alike.

use countersign_diagnose::cause::Cause;

const SECTIONS: [&str; 5] = [
    "What it is",
    "How it shows",
    "How to confirm",
    "How to fix",
    LOOK_ALIKES,
];
const LOOK_ALIKES: &str = "Do not confuse it with";

/// What is wrong with the prose of `cause`, if anything is.
pub(crate) fn fault(cause: Cause, prose: &str) -> Option<String> {
    let sections = sections(prose);
    let titles: Vec<_> = sections.iter().map(|section| section.title).collect();
    if titles != SECTIONS {
        return Some(format!("its sections are {titles:?}, not {SECTIONS:?}"));
    }
    if !prose.starts_with("## ") {
        return Some("something stands before its first section".to_owned());
    }
    if !prose
        .lines()
        .filter(|line| line.starts_with("```"))
        .count()
        .is_multiple_of(2)
    {
        return Some("a block of code is not closed".to_owned());
    }
    let odd = outside_code(prose).find(|line| !line.matches('`').count().is_multiple_of(2));
    if let Some(line) = odd {
        return Some(format!("a span of code is not closed in its line: {line}"));
    }
    if let Some(empty) = sections
        .iter()
        .find(|it| it.lines.iter().all(|line| line.is_empty()))
    {
        return Some(format!("its section {:?} is empty", empty.title));
    }
    let alike = &sections.last()?.lines;
    let items: Vec<_> = alike
        .iter()
        .filter_map(|line| line.strip_prefix("- `"))
        .collect();
    if !(2..=4).contains(&items.len()) {
        return Some(format!("it names {} look-alikes, not 2 to 4", items.len()));
    }
    items.iter().find_map(|item| {
        let slug = item.split('`').next()?;
        match slug.parse::<Cause>() {
            Ok(other) if other != cause => None,
            Ok(_) => Some("it is its own look-alike".to_owned()),
            Err(unknown) => Some(unknown.to_string()),
        }
    })
}

/// Where the links of a page lead, but for those to other sites; blocks and spans of code have none.
pub(crate) fn link_targets(page: &str) -> impl Iterator<Item = &str> {
    outside_code(page)
        .flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .filter(|target| !target.starts_with("https://"))
}

struct Section<'a> {
    title: &'a str,
    lines: Vec<&'a str>,
}

fn sections(prose: &str) -> Vec<Section<'_>> {
    let mut sections: Vec<Section<'_>> = Vec::new();
    let mut is_code = false;
    for line in prose.lines() {
        is_code ^= line.starts_with("```");
        match (line.strip_prefix("## "), sections.last_mut()) {
            (Some(title), _) if !is_code => sections.push(Section {
                title,
                lines: Vec::new(),
            }),
            (_, Some(section)) => section.lines.push(line),
            (_, None) => {}
        }
    }
    sections
}

fn outside_code(page: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    page.lines().filter(move |line| {
        let is_fence = line.starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

const GOOD: &str = "## What it is\n\na\n\n## How it shows\n\nb\n\n## How to confirm\n\n```sh\n## no title\n```\n\n\
    ## How to fix\n\nd\n\n## Do not confuse it with\n\n- `san-missing`: e\n- `no-tls-answer`: f\n";

#[test]
fn whole_prose_is_good_and_what_lacks_a_part_is_not() {
    assert_eq!(fault(Cause::LeafExpired, GOOD), None);
    for (whole, broken) in [
        ("## How it shows\n\nb\n\n", ""),
        ("## How it shows", "## How it looks"),
        ("## How it shows", "### How it shows"),
        ("\nb\n", "\n"),
        ("## What it is", "Intro\n\n## What it is"),
        ("```\n\n## How", "\n\n## How"),
        ("\nd\n", "\nd `e\nf`\n"),
        ("- `no-tls-answer`: f\n", ""),
        ("`no-tls-answer`", "`no-such-cause`"),
        ("`no-tls-answer`", "`leaf-expired`"),
        (
            "f\n",
            "f\n- `x509-v1`: g\n- `weak-key`: h\n- `healthy`: i\n",
        ),
        ("f\n", "f\n\n## More\n\ng\n"),
    ] {
        assert!(GOOD.contains(whole), "{whole:?}");
        let prose = GOOD.replacen(whole, broken, 1);
        assert!(fault(Cause::LeafExpired, &prose).is_some(), "{prose}");
    }
    let moved = GOOD
        .replace("How it shows", "x")
        .replace("How to fix", "How it shows");
    assert!(fault(Cause::LeafExpired, &moved.replace("## x", "## How to fix")).is_some());
}

#[test]
fn links_are_found_where_they_are_links() {
    let page =
        "[a](b.md) and [c](../d.md#e), [f](https://example.com)\n```sh\n[g](h.md)\n```\n[i](#j)\n";
    let found: Vec<_> = link_targets(page).collect();
    assert_eq!(found, ["b.md", "../d.md#e", "#j"]);
}
