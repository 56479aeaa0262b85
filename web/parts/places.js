// The names that a text has places for, {name} or {{name}}: to offer a field for each. What they mean, and the text that is
// sent, the database says (private.cut, private.placeholder).
const NAME = '[ \\t]*([A-Za-z_\\u0080-\\uffff][A-Za-z0-9_ \\u0080-\\uffff-]*)'
const PLACE = new RegExp(`\\{\\{${NAME}\\}\\}|\\{${NAME}\\}`, 'gu')

// Case, blanks at the ends, and whether words are joined by spaces, hyphens or underscores do not count.
export const placeOf = (name) =>
  name
    .replace(/[\u00a0\t]/g, ' ')
    .replace(/^ +| +$/g, '')
    .toLowerCase()
    .replace(/[ _-]+/g, '_')

export const placesIn = (text) => [
  ...new Set([...text.matchAll(PLACE)].map(([, twice, once]) => placeOf(twice ?? once))),
]

// Under the names of places, without what is blank: as the database reads values.
export const valuesOf = (given) =>
  Object.fromEntries(
    Object.entries(given ?? {})
      .filter(([, value]) => String(value ?? '').trim())
      .map(([name, value]) => [placeOf(name), String(value)]),
  )
