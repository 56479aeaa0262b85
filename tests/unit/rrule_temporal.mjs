// Reads [[zone, wall time, RRULE value, number], …] and prints the first occurrences of each as wall times with
// offset, according to rrule-temporal.
import { readFileSync } from 'node:fs'
import { RRuleTemporal } from 'rrule-temporal'

const occurrences = ([zone, start, rule, number]) =>
  new RRuleTemporal({ rruleString: `DTSTART;TZID=${zone}:${start}\nRRULE:${rule}`, maxIterations: 1e6 })
    .all((_, index) => index < number)
    .map((time) => time.toString({ timeZoneName: 'never' }))

console.log(JSON.stringify(JSON.parse(readFileSync(0, 'utf8')).map(occurrences)))
