@echo off
rem "Send to" of Windows, with recolor_fast in WSL: put this into the folder that Win+R, shell:sendto opens.
setlocal DisableDelayedExpansion
:next
if "%~1"=="" goto done
for /f "usebackq delims=" %%p in (`wsl.exe -e wslpath -a "%~1"`) do wsl.exe -e recolor-fast colorize --beside "%%p"
shift
goto next
:done
pause
