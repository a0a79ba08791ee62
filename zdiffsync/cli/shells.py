"""Shells and their completion: what click's own support for them lacks.

Our words have colons, which bash takes for the end of a word, commas, at which click's script for fish cuts
them, and spaces; and after a point or a directory more is to come, so no space follows (fish sees to that by
itself). Rule: one completion a line.
"""

import os
import re
from typing import Any

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ZshComplete,
    add_completion_class,
    split_arg_string,
)

_BASH = r"""%(complete_func)s() {
    local IFS=$'\n' response completion type value
    response=$(env COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORDBREAKS="$COMP_WORDBREAKS" \
        %(complete_var)s=bash_complete "$1")
    for completion in $response; do
        IFS=',' read -r type value <<<"$completion"
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("$value") ;;
        esac
    done
    if [[ ${#COMPREPLY[@]} == 1 && $COMPREPLY == *[/:] ]]; then compopt -o nospace; fi
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = r"""#compdef %(prog_name)s
%(complete_func)s() {
    local -a lines whole whole_told more more_told
    local type value told
    (( $+commands[%(prog_name)s] )) || return 1
    lines=("${(@f)$(env COMP_WORDS="${words[*]}" COMP_CWORD=$((CURRENT-1)) \
        %(complete_var)s=zsh_complete %(prog_name)s)}")
    for type value told in "${lines[@]}"; do
        case $type in
            dir) _path_files -/; continue ;;
            file) _path_files -f; continue ;;
            plain) ;;
            *) continue ;;
        esac
        [[ $told == _ ]] && told=$value || told="$value  -- $told"
        if [[ $value == *[/:] ]]; then
            more+=("$value") more_told+=("$told")
        else
            whole+=("$value") whole_told+=("$told")
        fi
    done
    (( $#more )) && compadd -V unsorted -S '' -l -d more_told -a more
    (( $#whole )) && compadd -V unsorted -l -d whole_told -a whole
    return 0
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

_FISH = r"""function %(complete_func)s
    for line in (env %(complete_var)s=fish_complete COMP_WORDS=(commandline -cp) COMP_CWORD=(commandline -t) \
            %(prog_name)s)
        set -l parts (string split -m 1 , -- $line)
        switch $parts[1]
            case dir
                __fish_complete_directories $parts[2]
            case file
                __fish_complete_path $parts[2]
            case plain
                echo $parts[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""

_QUOTED = re.compile(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')*(["'])?""", re.DOTALL)
_SPECIAL = re.compile(r"([^\w@%+=:,./~-])")


class _Bash(BashComplete):
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the one at the cursor, and that one, by our rules and not bash's."""
        line = os.environ["COMP_LINE"]
        words = split_arg_string(line)
        incomplete = "" if _ended(line) else words.pop()
        names = [os.path.basename(word) for word in words]
        return words[names.index(self.prog_name) + 1 :], incomplete

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return what bash is to put in place of what it takes for the word at the cursor."""
        value = str(item.value)
        word = _last_word(os.environ["COMP_LINE"])
        if not word.startswith(("'", '"')):
            marks = re.escape(os.environ.get("COMP_WORDBREAKS", "").strip())
            kept = re.match(rf"(?:(?:\\.|[^\\])*[{marks}])?", word) if marks else None
            typed = "".join(split_arg_string(kept[0])) if kept else ""
            value = _SPECIAL.sub(r"\\\1", value[len(typed) :])
        return f"{item.type},{value}"


class _Zsh(ZshComplete):
    source_template = _ZSH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Return three lines; colons need no escape with compadd."""
        return f"{item.type}\n{item.value}\n{item.help or '_'}"


class _Fish(FishComplete):
    source_template = _FISH


def _last_word(line: str) -> str:
    """Return the word at the end of a line as it was typed, quotes and all; '' after a blank."""
    at = 0
    while True:
        found = _QUOTED.match(line, at)
        assert found is not None, "it matches nothing, too"
        end = len(line) if found[1] else found.end()  # an open quote takes all that follows
        if end >= len(line) or not line[end].isspace():
            return line[at:]
        at = end + 1


def _ended(line: str) -> bool:
    return not _last_word(line)


def register() -> None:
    """Have click use these."""
    for shell in (_Bash, _Fish, _Zsh):
        add_completion_class(shell)
