"""What the lines of each programming language begin with and hold, as far as that tells it from others and from prose.

Every repetition is bounded or possessive: a hostile line must not make matching quadratic.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Signs:
    """Signs of a language.

    Attributes:
        starts: matches at the beginning of a line; each of its groups is one sign.
        words: what stands anywhere; each group of equals is one sign.
        needed: words of which one stands in any program.
    """

    starts: re.Pattern[str]
    words: tuple[tuple[str, ...], ...]
    needed: tuple[str, ...] = ()


def _signs(starts: tuple[str, ...], words: tuple[str, ...], needed: tuple[str, ...] = ()) -> Signs:
    """Put the signs together: the words of a group parted by ``¦``."""
    pattern = re.compile(rf"\n[ \t]{{0,60}}(?:{'|'.join(f'({start})' for start in starts)})", re.MULTILINE)
    return Signs(pattern, tuple(tuple(group.split("¦")) for group in words), needed)


_REST = r"[^\n]*+"
_C_TYPE = (
    r"(?:static|extern|typedef|inline|const|unsigned|struct|enum|union|void|int|char|long|double|float|size_t|bool|"
    r"u?int\d{1,2}_t)"
)
_JAVA_MODIFIERS = r"(?:(?:public|private|protected|abstract|final|static|sealed|synchronized) ){1,4}"
_CSHARP_MODIFIERS = (
    r"(?:(?:public|internal|private|protected|static|sealed|abstract|partial|override|virtual|async|readonly|const) )"
    r"{1,4}"
)
_SQL_THING = (
    r"(?:table|index|view|database|schema|function|procedure|trigger|sequence|type|extension|column|role|user|operator|"
    r"cast|aggregate)"
)
_SQL_TYPE = r"(?i:varchar|integer|int|text|boolean|timestamp|bigint|serial|numeric|float|double|date|char)"
_SQL_CLAUSE = (
    r"(?:group|order) by\b|(?:left |right |inner |outer |cross ){0,3}join \w|values ?\(|union(?: all)?$|"
    r"language \w{1,20}|as \$\w{0,20}\$|returns "
)

LANGUAGES: dict[str, Signs] = {
    "text/x-python": _signs(
        (
            r"(?:async )?def \w{1,80}\(",
            rf"class \w{{1,80}}(?:\({_REST}|:$)",
            r"from [.\w]{1,100} import |import [\w.]{1,100}(?: as \w{1,60})?$",
            rf"(?:if|elif|for|while|with|try|except|else|finally)\b(?! ?\(){_REST}(?<=[^;{{]:)$",
            rf"(?:return|raise|yield|assert|pass|del|continue)\b{_REST}(?<![;{{])$",
            rf"@\w[\w.]{{0,80}}(?:\({_REST})?$",
            rf"(?:__\w{{1,40}}__|[A-Za-z_]\w{{0,80}})(?:: ?[\w\[\], |.\"']{{1,80}})? = {_REST}(?<![;{{])$",
            r"[rRuUfFbB]{0,2}(?:\"\"\"|" + "'''" + r")",
            r"if __name__ == ",
        ),
        ("self.", " None¦(None¦ is not ¦ not in ", "print(¦.append(¦.format(¦**kwargs"),
    ),
    "text/x-c": _signs(
        (
            r"#[ \t]{0,8}include[ \t]{0,8}[<\"]",
            r"#[ \t]{0,8}define[ \t]{1,8}\w",
            r"#[ \t]{0,8}(?:if|ifdef|ifndef|elif|endif|pragma|undef|error)\b",
            rf"{_C_TYPE}\b(?:{_REST}(?<=[;({{,*)])|[ \w*]{{1,60}}$)",
            rf"(?:\}}|return|if|for|while|else|switch|case|break|goto)\b{_REST}(?<=[;{{:)])",
            r"/\*",
            r"(?:\w[\w ]{0,80}[ *])?\w{1,80} ?\([^;{}\n]{0,200}(?:\);|,|\))$",
        ),
        (" NULL¦(NULL¦NULL)¦sizeof(¦printf(¦malloc(", "->"),
    ),
    "text/x-java": _signs(
        (
            r"package [\w.]{1,200};",
            r"import (?:static )?[\w.]{1,200}(?:\.\*)?;",
            rf"{_JAVA_MODIFIERS}(?:class|interface|enum|record|@interface) \w",
            rf"{_JAVA_MODIFIERS}[\w<>\[\], ?.]{{1,80}} \w{{1,80}}\(",
            rf"{_JAVA_MODIFIERS}[\w<>\[\], ?.]{{1,120}}(?: = {_REST}|;)",
            r"@(?:Override|Test|Nullable|SuppressWarnings|Deprecated|FunctionalInterface|Retention|Target|Inject)\b",
            rf"(?:return|if|for|while|switch|throw|try|\}} (?:else|catch|finally)){_REST}(?<=[;{{])",
            rf"(?:class|interface|enum|record) [A-Z]\w{{0,80}}{_REST}(?<=\{{)",
        ),
        (" throws ¦System.out¦ implements ", "new ArrayList¦new HashMap¦List<¦Map<¦.class)¦String "),
    ),
    "text/x-csharp": _signs(
        (
            r"using (?:static )?[A-Z][\w.]{0,200};",
            r"namespace [A-Z][\w.]{0,200}\s*+[;{]?$",
            rf"{_CSHARP_MODIFIERS}(?:class|interface|enum|struct|record|delegate) \w",
            r"///? ?<(?:summary|param|returns|remarks)|#region|#endregion|#nullable",
            rf"{_CSHARP_MODIFIERS}[\w<>\[\], ?.]{{1,80}} \w{{1,80}}\(",
            rf"{_CSHARP_MODIFIERS}[\w<>\[\], ?.]{{1,120}}(?: = {_REST}|;)",
            r"\[[A-Z]\w{1,60}(?:\([^\n]{0,200}\))?\]$",
            r"foreach ?\(|var \w{1,60} = |throw new ",
        ),
        ("{ get;¦{ set;¦get;", "Console.¦string.¦ async Task¦List<¦nameof("),
    ),
    "text/javascript": _signs(
        (
            r"(?:export )?(?:const|let|var) [\w${\[][^=\n;]{0,80}[=;,]",
            r"(?:export )?(?:default )?(?:async )?function\*? ?[\w$]{0,60} ?\(",
            r"import (?:[\w*{][\w$*{}, ]{0,200} from )?['\"]|import \{$|\} from ['\"]",
            r"export (?:default|const|class|\{|\*|async)|module\.exports|exports\.\w{1,60} =",
            rf"(?:\}}|return|if|for|while|else|switch|case|throw|try)\b{_REST}(?<=[;{{])",
            r"['\"]use strict['\"]",
            r"\}\)[;(]|\}\);?$|\}\(|\(function|!function|;\(function",
        ),
        (
            "===¦!==",
            " => ¦=>{¦=>(",
            "function(¦function (",
            "require('¦require(\"¦console.¦document.¦window.¦JSON.",
            "this.",
            "prototype.¦undefined¦typeof ",
        ),
    ),
    "text/x-go": _signs(
        (
            r"package [a-z]\w{0,60}$",
            r"import \($|import (?:\w{1,40} )?\"[^\"\n]{1,200}\"$",
            r"func (?:\(\w{0,40} ?\*?[\w\[\], ]{1,80}\) )?\w{1,80}[(\[]",
            r"type \w{1,80}(?:\[[^\]\n]{1,99}\])? (?:struct|interface|func|map|\[\])",
            r"//go:build |// \+build |const \($|var \($|var \w{1,80} [\w.\[\]*]{1,80}",
            rf"(?:if|for|switch|select){_REST}(?<=\{{)$",
            r"defer |go func",
        ),
        (" := ", " != nil {¦, nil$¦return nil", "[]string¦[]byte¦map[string]¦interface{}¦fmt."),
    ),
    "text/x-rust": _signs(
        (
            r"(?:pub(?:\([\w: ]{1,40}\))? )?(?:(?:const|async|unsafe|extern \"C\") ){0,3}fn \w{1,80}[(<]",
            r"(?:pub(?:\([\w: ]{1,40}\))? )?use [\w:]{1,99}(?:::|;)",
            r"(?:pub(?:\([\w: ]{1,40}\))? )?(?:struct|enum|trait|union) \w{1,80}[<{;( ]",
            r"(?:unsafe )?impl(?:<[^\n]{1,99}>)? [\w&:]",
            r"let (?:mut )?[\w(&]{1,80}(?:: [^\n]{1,80})? =",
            r"#!?\[\w{1,60}[\](= ]",
            r"(?:pub(?:\([\w: ]{1,40}\))? )?mod \w{1,80}(?:;| \{)|extern crate |macro_rules!",
            r"//[/!](?: |$)",
        ),
        (
            "&self¦&mut self",
            "-> ",
            "Some(¦Ok(¦Err(¦.unwrap()",
            "println!(¦assert_eq!(¦format!(¦vec![¦write!(",
            " match ¦if let ",
        ),
    ),
    "text/x-shellscript": _signs(
        (
            r"(?:if|elif|while|until) (?:\[|!|test |grep |command |which )",
            r"(?:fi|done|esac|;;|then|do)$",
            r"(?:export |local |readonly |declare )[\w-]{1,60}(?:=|$)",
            r"[A-Za-z_]\w{0,60}=(?:[\"'$/`][^\n;]{0,200})?$",
            r"(?:echo|printf|cd|mkdir|rm|cp|mv|sudo|source|exit|exec|trap|shift|unset) [^\n(=]{1,200}$",
            r"(?:function )?[\w-]{1,60} ?\(\) ?\{?$",
            r"set -[euxo]|case [^\n]{1,80} in$|for \w{1,40} in ",
        ),
        ('${¦$(¦"$', "; then¦; do", " || ¦ && ¦>/dev/null¦2>&1¦> /dev/null"),
    ),
    "application/sql": _signs(
        (
            rf"(?i:create(?: or replace)?(?: temp(?:orary)?| unique| global| external)? {_SQL_THING}\b)",
            rf"(?i:(?:alter|drop|truncate) {_SQL_THING}\b)",
            r"(?i:insert (?:or \w{1,20} )?into \S)",
            r"(?i:select\b[^\n]{1,200}(?:;|\bfrom\b)|select$|from [\w.]{1,80};$)",
            r"(?i:update \S{1,80} set\b|delete from |set \w[\w.]{0,60} ?=)",
            rf"(?i:where\b[^\n]{{1,200}}(?:[=<>]| in | is | like )|{_SQL_CLAUSE})",
            r"-- ",
            r"(?i:(?:begin|commit|rollback|end)(?: transaction| work)?;|pragma \w|comment on )",
            r"(?i:(?:grant|revoke) [\w, ]{1,80} on )",
            rf"\w{{1,60}} {_SQL_TYPE}\b[^;\n]{{0,99}}(?:,|\)|$)",
            r"\\(?:set|echo|pset|quit|d|c|i|timing)\b",
        ),
        ("PRIMARY KEY¦primary key¦NOT NULL¦not null¦REFERENCES¦references",),
        needed=(";\n",),
    ),
    "text/x-ruby": _signs(
        (
            r"def (?:self\.)?\w{1,80}[?!=]?(?:\([^\n:]{0,200}\))?$",
            r"end$|end\.\w",
            r"require(?:_relative)? ?\(?['\"]",
            r"(?:module|class) [A-Z][\w:]{0,80}(?: ?< ?[A-Z][\w:.]{0,80})?$",
            r"@{1,2}\w{1,80} (?:\|\|)?= |attr_(?:reader|accessor|writer) |include [A-Z]|extend [A-Z]",
            rf"(?:if|unless|elsif|when|rescue|ensure|begin|raise|puts|yield)\b{_REST}(?<![:;{{])$",
            r"# frozen_string_literal|(?:it|describe|context|test|task|desc|gem|get|assert\w{0,30}) ?\(?['\":]",
        ),
        (" do\n¦ do |", ".each¦.nil?¦.map¦.empty?¦.freeze", "#{"),
    ),
    "text/x-perl": _signs(
        (
            rf"use (?:strict|warnings|utf8|vars|lib|base|parent|\d|[A-Z][\w:]{{1,80}}){_REST}(?<=;)",
            r"package \w[\w:]{0,99};",
            r"sub \w{1,80}\b",
            r"(?:my|our|local) ?[$@%(]",
            r"=(?:head\d|cut|pod|over|item|back|encoding|for|begin)\b",
            r"(?:1;|__END__|__DATA__)$",
            rf"(?:if|elsif|unless|foreach|for|while|return|die|print|push|require)\b{_REST}(?<=[;{{])",
            r"\$\w{1,60}(?:->|\{|\[| =| \.=)",
        ),
        (" =~ ¦ !~ ", "@_¦$_¦shift;¦qw(", "->{¦$self"),
    ),
}
"""The signs of each language, by its media type."""

VARIANTS: dict[str, tuple[str, Signs]] = {
    "text/x-c": (
        "text/x-c++",
        _signs(
            (
                r"(?:inline )?namespace(?: [\w:]{1,80})? ?\{?$",
                r"template ?<",
                r"(?:public|private|protected)(?: slots)?:$",
                rf"class (?:\w{{1,60}} )?\w{{1,80}}(?: final)?(?: ?[:{{]{_REST}|;)?$",
                r"using (?:namespace )?[\w:]{1,80}(?: ?= ?[^\n]{1,200})?;",
                r"#[ \t]{0,8}include[ \t]{0,8}<[a-z_]{1,40}>",
                r"#[ \t]{0,8}include[ \t]{0,8}[<\"][\w/.-]{1,120}\.(?:hpp|hxx|hh)[>\"]",
            ),
            (
                "std::¦boost::",
                "nullptr¦static_cast<¦reinterpret_cast<¦dynamic_cast<¦constexpr ¦ noexcept",
                "virtual ¦ override¦operator==¦operator=¦operator()¦explicit ",
                "::~",
                "const auto&¦auto ",
            ),
        ),
    ),
    "text/javascript": (
        "text/x-typescript",
        _signs(
            (
                r"(?:export |declare ){0,2}interface [\w$]{1,80}",
                r"(?:export |declare ){1,2}(?:namespace|abstract|const enum|enum) ",
                r"(?:export )?(?:declare )?type [\w$]{1,80}(?:<[^\n]{1,99}>)? ?=",
                r"import type |import \{ type |export type |export \* as |declare (?:module|global|function|const)",
            ),
            (
                ": string¦: number¦: boolean¦: void¦: any¦: unknown¦: never",
                " as const¦ as any¦ satisfies ¦ readonly ¦ keyof ¦ infer ",
                "<T¦Promise<¦Array<¦Record<",
            ),
        ),
    ),
}
"""Languages whose signs are those of another and more, by that other's media type."""
