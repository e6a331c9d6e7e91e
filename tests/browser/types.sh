#!/usr/bin/env bash
# Checks the types of the JavaScript client with the TypeScript compiler: that `tidegate.d.ts` is
# sound and means what `types.ts` says, and that the module itself has no error that shows.
set -euo pipefail
cd "$(dirname "$0")/../.."

tsc() {
    npx --yes --package typescript@5.9.3 -- tsc --noEmit --target es2022 --module esnext \
        --moduleResolution bundler --lib es2023,dom,dom.iterable "$@"
}

tsc --strict tests/browser/types.ts
tsc --allowJs --checkJs src/web/tidegate.js
echo "types are sound"
