#!/bin/sh
# Scripts > color-beside in the menu of Nautilus: ~/.local/share/nautilus/scripts/color-beside, executable (chmod +x).
# Nautilus runs it in the folder and names what is selected: a.colored.jpg comes beside a.jpg. Nemo and Caja have such
# folders, too.
command -v recolor-fast >/dev/null || PATH="$HOME/.local/bin:$PATH"
told=$(recolor-fast colorize --beside "$@" 2>&1 >/dev/null)
code=$?
if command -v notify-send >/dev/null; then
    notify-send recolor_fast "$told"
else
    printf '%s\n' "$told" >&2
fi
exit "$code"
