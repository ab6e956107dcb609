// The command line: the only place where real things are chosen.

import CommandLineArguments

exit(code: runCommandLine(Array(CommandLine.arguments.dropFirst())))
