"""Completion in bash, zsh and fish: the scripts, and the answers they ask for.

The scripts call ``art`` with ``_ART_COMPLETE`` naming the shell and ``_ART_LINE`` holding the command line
up to the cursor. The answer is a line per candidate: its kind (plain, file or dir), the word, its help,
with tabs between. Whatever goes wrong, the answer is empty and silent.
"""

from __future__ import annotations

import os
import sys

import click

__all__ = ["SCRIPTS", "answer", "candidates"]

_BASH = """\
_%(name)s_complete() {
    local IFS=$'\\n' line="${COMP_LINE:0:$COMP_POINT}" kind word help current cut
    current="${line##*[[:space:]]}"
    # What readline replaces begins after the last of its own word breaks, such as ':' in digits:latest.
    cut="${current%%"${current##*["$COMP_WORDBREAKS"]}"}"
    COMPREPLY=()
    while IFS=$'\\t' read -r kind word help; do
        case "$kind" in
            file) compopt -o default -o filenames 2>/dev/null ;;
            dir) compopt -o dirnames -o filenames 2>/dev/null ;;
            open) compopt -o nospace 2>/dev/null; COMPREPLY+=("${word#"$cut"}") ;;
            plain) COMPREPLY+=("${word#"$cut"}") ;;
        esac
    done < <(_ART_COMPLETE=bash _ART_LINE="$line" %(name)s 2>/dev/null)
}
complete -o nosort -F _%(name)s_complete %(name)s
"""

_ZSH = """\
_%(name)s_complete() {
    local -a plain shown open
    local kind word help line="${(pj: :)words[1,CURRENT-1]} $PREFIX"
    while IFS=$'\\t' read -r kind word help; do
        case "$kind" in
            file) _files ;;
            dir) _files -/ ;;
            open) open+=("$word") ;;
            plain) plain+=("$word"); shown+=("$word${help:+  -- $help}") ;;
        esac
    done < <(_ART_COMPLETE=zsh _ART_LINE="$line" %(name)s 2>/dev/null)
    (( $#open )) && compadd -S '' -a open
    (( $#plain )) && compadd -l -d shown -a plain
}
compdef _%(name)s_complete %(name)s
"""

_FISH = """\
function _%(name)s_complete
    set -l line (commandline -cp | string collect)
    for item in (_ART_COMPLETE=fish _ART_LINE="$line" %(name)s 2>/dev/null)
        set -l part (string split -m 2 \\t -- $item)
        switch $part[1]
            case file
                __fish_complete_path (commandline -ct)
            case dir
                __fish_complete_directories (commandline -ct)
            case '*'
                printf '%%s\\t%%s\\n' $part[2] $part[3]
        end
    end
end
complete -c %(name)s -f -a '(_%(name)s_complete)'
"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


def answer(group: click.Group, program: str, shell: str) -> int:
    """Print the candidates for the line in ``_ART_LINE``; return the exit code, which is 0."""
    del shell  # the answer is the same for each; the scripts make of it what their shell wants
    try:
        found = candidates(group, program, os.environ.get("_ART_LINE", ""))
        sys.stdout.write("".join("\t".join(item) + "\n" for item in found))
        sys.stdout.flush()
    except Exception:
        if os.environ.get("ART_DEBUG", "") not in ("", "0"):
            raise
    return 0


def candidates(group: click.Group, program: str, line: str) -> list[tuple[str, str, str]]:
    """Return kind, word and help of everything that may stand at the end of ``line``."""
    from click.shell_completion import ShellComplete, split_arg_string

    words = split_arg_string(line)
    partial = words.pop() if words and not line[-1:].isspace() else ""
    items = ShellComplete(group, {}, program, "_ART_COMPLETE").get_completions(words[1:], partial)
    return [(item.type, str(item.value), " ".join((item.help or "").split())) for item in items]
