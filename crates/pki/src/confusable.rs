//! Texts that people take for each other.
//!
//! Not the whole of Unicode TR 39, which is tables of thousands of lines: the scripts whose letters are drawn like Latin ones,
//! and the digits that are drawn like letters. What is refused by it has to be certain; what passes may still deceive.

/// Whether letters of Latin stand beside such of a script that has the same shapes (Unicode TR 39 §5.1), or letters that are
/// Latin ones drawn in another way stand at all.
pub fn mixes_scripts(text: &str) -> bool {
    let mut seen = None;
    for script in text.chars().filter_map(script) {
        if script == Script::Disguised || *seen.get_or_insert(script) != script {
            return true;
        }
    }
    false
}

/// What is left of `text` when letters that look alike are one: two texts with the same skeleton can be taken for each other
/// (Unicode TR 39 §4).
pub fn skeleton(text: &str) -> String {
    let alike = |letter: char| match letter {
        '0' | 'о' | 'ο' => 'o',
        '1' | 'I' | 'ӏ' => 'l',
        'і' | 'ι' => 'i',
        'а' | 'α' => 'a',
        'с' | 'ϲ' => 'c',
        'е' => 'e',
        'һ' => 'h',
        'ј' => 'j',
        'κ' | 'к' => 'k',
        'ν' => 'v',
        'р' | 'ρ' => 'p',
        'ѕ' => 's',
        'т' | 'τ' => 't',
        'υ' | 'у' | 'γ' => 'y',
        'х' | 'χ' => 'x',
        other => other,
    };
    let letters: String = text
        .chars()
        .map(alike)
        .flat_map(char::to_lowercase)
        .map(alike)
        .collect();
    letters.replace("rn", "m").replace("vv", "w")
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Armenian,
    Cherokee,
    Cyrillic,
    /// Latin letters in other places of Unicode: full-width and mathematical ones.
    Disguised,
    Greek,
    Latin,
}

fn script(letter: char) -> Option<Script> {
    Some(match letter {
        'A'..='Z' | 'a'..='z' | '\u{c0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Script::Latin,
        '\u{370}'..='\u{3ff}' | '\u{1f00}'..='\u{1fff}' => Script::Greek,
        '\u{400}'..='\u{52f}'
        | '\u{1c80}'..='\u{1c8f}'
        | '\u{2de0}'..='\u{2dff}'
        | '\u{a640}'..='\u{a69f}' => Script::Cyrillic,
        '\u{530}'..='\u{58f}' => Script::Armenian,
        '\u{13a0}'..='\u{13ff}' | '\u{ab70}'..='\u{abbf}' => Script::Cherokee,
        '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' | '\u{1d400}'..='\u{1d7ff}' => {
            Script::Disguised
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_with_the_same_shapes_do_not_stand_beside_each_other() {
        for one in [
            "paypal",
            "Ölpumpe 1",
            "Привет",
            "Αθήνα",
            "東京 tower",
            "a-1.b",
        ] {
            assert!(!mixes_scripts(one), "{one}");
        }
        for mixed in [
            "pаypal", "ορder", "ａdmin", "𝐚dmin", "Ꭺdmin", "аdmin", "ա b",
        ] {
            assert!(mixes_scripts(mixed), "{mixed}");
        }
    }

    #[test]
    fn names_that_look_alike_have_one_skeleton() {
        for (one, other) in [
            ("paypal.com", "paypa1.com"),
            ("PayPal.com", "paypal.com"),
            ("modern", "modem"),
            ("node0", "nodeo"),
            ("раураl", "paypal"),
        ] {
            assert_eq!(skeleton(one), skeleton(other), "{one} {other}");
        }
        for (one, other) in [
            ("a.example", "b.example"),
            ("mail", "mall"),
            ("fill", "full"),
        ] {
            assert_ne!(skeleton(one), skeleton(other), "{one} {other}");
        }
    }
}
