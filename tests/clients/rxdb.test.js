// Two users and two devices with the unmodified RxDB, by the snippet of docs/sync.md, against the real binary.
import assert from 'node:assert/strict'
import { after, afterEach, before, describe, it } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'

import { Replica } from './rig/replica.js'
import { World } from './rig/world.js'

// Waits for something that another process does; gives up after 20 s.
async function until(what, question) {
  for (let tries = 0; tries < 800; tries++) {
    if (await question()) return
    await wait(25)
  }
  assert.fail(`it never came: ${what}`)
}

// A handler as apps write it who want their own user's words to win.
const insists = {
  isEqual: (a, b) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort()),
  resolve: ({ newDocumentState }) => newDocumentState,
}

for (const kind of ['sqlite', 'postgres']) {
  describe(`RxDB on ${kind}`, () => {
    let world, ana, ben, sam
    let replicas = []

    before(async () => {
      world = await World.open(kind)
      ;[ana, ben, sam] = await Promise.all(['ana', 'ben', 'sam'].map((name) => world.person(`${name}@demo.example`)))
    })
    afterEach(async () => {
      await Promise.all(replicas.map((replica) => replica.close()))
      replicas = []
    })
    after(() => world?.close())

    async function replica(person, options) {
      const made = await Replica.of(await world.person(person.email), options)
      replicas.push(made)
      return made
    }

    async function synced(person, options) {
      const made = (await replica(person, options)).starts()
      await made.syncs()
      return made
    }

    async function aCase(device, summary = 'A family of four') {
      const id = await device.creates('cases', { unit: 'family', summary })
      const goal = await device.creates('goals', { case_id: id, level: 'family', statement: 'Rent is paid by the first' })
      const note = await device.creates('notes', { case_id: id, kind: 'progress', body: 'All well' })
      await device.syncs()
      return { id, goal, note }
    }

    const handsOver = (id, to) =>
      sam.post(`/cases/${id}/assignments`, { user_id: to.user.id, role: 'primary', reason: 'Ana goes on leave' })

    // Both sides are at rest: nothing more is asked, whatever time passes.
    async function isAtRest(device, pattern) {
      await device.syncs()
      const before = device.times(pattern)
      await wait(600)
      assert.equal(device.times(pattern), before, `it goes on asking: ${device.asked.slice(-5)}`)
    }

    it('fills a new device in pages and then brings only what is new', async () => {
      const one = await synced(ana)
      const made = await aCase(one)
      for (let at = 0; at < 9; at++) {
        await one.creates('goals', { case_id: made.id, level: 'family', statement: `Step number ${at}` })
      }
      await one.syncs()
      const two = (await replica(ana)).starts({ batchSize: 4 })
      await two.syncs()
      assert.deepEqual(await two.ids('goals'), await one.ids('goals'))
      assert.ok((await two.ids('goals')).length >= 10)
      assert.ok(two.times(/goals\/pull\?cursor=&/) === 1 && two.times(/goals\/pull/) >= 3, 'in pages')
      const received = []
      two.sync.replications.goals.received$.subscribe((document) => received.push(document.id))
      await one.edits('goals', made.goal, { measure: 'Receipts' })
      await one.syncs()
      await two.syncs()
      assert.equal((await two.row('goals', made.goal)).measure, 'Receipts')
      assert.deepEqual(received, [made.goal])
    })

    it('keeps what both devices hold alike, in the declared types and no other columns', async () => {
      const [one, two] = [await synced(ana), await synced(ana)]
      await aCase(one)
      await two.syncs()
      await one.syncs()
      for (const { name, columns } of one.described.tables.filter(({ name }) => one.collection(name))) {
        const [rows, others] = [await one.rows(name), await two.rows(name)]
        assert.deepEqual(rows, others, name)
        for (const row of rows) {
          assert.deepEqual(Object.keys(row).sort(), ['id', ...columns.map(({ name }) => name)].sort(), name)
          for (const { name: column, type, holds, optional } of columns) {
            const value = row[column]
            if (value === null) assert.ok(optional, `${name}.${column} may not be empty`)
            else if (holds === 'json') assert.equal(typeof value, 'object', `${name}.${column}`)
            else if (holds === 'instant') assert.match(value, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/, `${name}.${column}`)
            else assert.equal(typeof value, type, `${name}.${column}`)
          }
        }
      }
    })

    it('keeps both fields of two edits, and of one field the stored value', async () => {
      const [one, two] = [await synced(ana), await synced(ana)]
      const { goal } = await aCase(one)
      await two.syncs()
      two.online = false
      await two.edits('goals', goal, { why_it_matters: 'To stay in the flat', unit: 'weeks' })
      await one.edits('goals', goal, { measure: 'Receipts', unit: 'months' })
      await one.syncs()
      two.online = true
      await two.syncs()
      await one.syncs()
      for (const device of [one, two]) {
        const { measure, why_it_matters, unit } = await device.row('goals', goal)
        assert.deepEqual([measure, why_it_matters, unit], ['Receipts', 'To stay in the flat', 'months'])
      }
      await two.syncs() // each table comes by itself, and the issue may have been made after its table was asked for
      const told = (await two.rows('sync_issues')).filter(({ about_id }) => about_id === goal)
      assert.deepEqual(told.map(({ kind, detail }) => [kind, detail]), [['conflict', { unit: 'weeks' }]])
      const history = await ana.get(`/goals/${goal}/history`)
      assert.ok(history.items.some(({ op, old }) => op === 'lost' && old.unit === 'weeks'), 'the loser can be brought back')
      await isAtRest(two, /push/)
    })

    it('takes a push again whose answer was lost, with no second effect', async () => {
      const [one, two] = [await synced(ana), await synced(ana)]
      const { id, goal } = await aCase(one)
      await two.syncs()
      one.losing = 2
      const note = await one.creates('notes', { case_id: id, kind: 'progress', body: 'Said once' })
      await one.edits('goals', goal, { measure: 'Receipts' })
      await until('the pushes are repeated', () => one.losing === 0)
      await one.syncs()
      await two.syncs()
      assert.equal((await two.row('notes', note)).body, 'Said once')
      const before = await two.row('goals', goal)
      await one.syncs()
      await two.syncs()
      assert.deepEqual(await two.row('goals', goal), before)
      const about = (await one.rows('sync_issues')).filter(({ about_id }) => [note, goal].includes(about_id))
      assert.deepEqual(about, [])
    })

    it('takes a deleted draft from every device, and brings back what may not be deleted', async () => {
      const [one, two] = [await synced(ana), await synced(ana)]
      const { id, note } = await aCase(one)
      await two.syncs()
      await one.deletes('notes', note)
      await one.deletes('cases', id)
      await one.syncs()
      await one.syncs()
      await two.syncs()
      for (const device of [one, two]) {
        assert.equal(await device.row('notes', note), undefined)
        assert.equal((await device.row('cases', id)).summary, 'A family of four')
      }
      assert.ok((await one.rows('sync_issues')).some(({ kind, about_id }) => kind === 'delete_refused' && about_id === id))
      await isAtRest(one, /push/)
    })

    it('moves a reassigned case whole, and a poke is enough to tell both', async () => {
      const [anas, bens] = [await synced(ana), await synced(ben)]
      const made = await aCase(anas)
      await until('Ana holds what the server made of it', async () => (await anas.row('cases', made.id)).updated_at)
      await handsOver(made.id, ben)
      for (const [table, id] of [['cases', made.id], ['goals', made.goal], ['notes', made.note]]) {
        await until(`Ana loses the ${table}`, async () => !(await anas.row(table, id)))
        await until(`Ben gains the ${table}`, () => bens.row(table, id))
      }
      const left = [...(await anas.rows('goals')), ...(await anas.rows('notes'))]
      assert.deepEqual(left.filter(({ case_id }) => case_id === made.id), [])
      const response = await ana.fetch(`/cases/${made.id}`)
      assert.equal(response.status, 404)
    })

    for (const [habit, conflictHandler] of [['takes the answer', undefined], ['insists', insists]]) {
      it(`keeps work on a case that was lost meanwhile, with a handler that ${habit}`, async () => {
        const [anas, bens] = [await synced(ana, { conflictHandler }), await synced(ben)]
        const made = await aCase(anas)
        await anas.syncs()
        anas.online = false
        await anas.edits('goals', made.goal, { why_it_matters: 'Words nobody has yet' })
        const note = await anas.creates('notes', { case_id: made.id, kind: 'progress', body: 'A visit nobody knows of' })
        await handsOver(made.id, ben)
        anas.online = true
        const before = anas.times(/push/)
        await anas.syncs()
        await anas.syncs()
        await until('the rows leave', async () => !(await anas.row('goals', made.goal)) && !(await anas.row('notes', note)))
        await isAtRest(anas, /push/)
        assert.ok(anas.times(/push/) - before <= 8, `${anas.times(/push/) - before} pushes`)
        await bens.syncs()
        const issues = (await bens.rows('sync_issues')).filter(({ about_id }) => [made.goal, note].includes(about_id))
        assert.equal(issues.length, 2)
        const kept = await Promise.all(issues.map(({ id }) => ben.get(`/sync_issues/${id}/work`)))
        assert.match(JSON.stringify(kept), /Words nobody has yet/)
        assert.match(JSON.stringify(kept), /A visit nobody knows of/)
        const told = (await anas.rows('sync_issues')).filter(({ about_id }) => about_id === made.goal)
        assert.equal(told.length, 1, 'Ana is told once')
      })
    }

    it('does not spin over a move that is never legal', async () => {
      const one = await synced(ana, { conflictHandler: insists })
      const { goal } = await aCase(one)
      await one.syncs()
      await one.edits('goals', goal, { lifecycle: 'completed', measure: 'Receipts' })
      await one.syncs()
      await one.syncs()
      await isAtRest(one, /push/)
      const { lifecycle, measure } = await one.row('goals', goal)
      assert.deepEqual([lifecycle, measure], ['draft', 'Receipts'])
      assert.ok((await one.rows('sync_issues')).some(({ kind, about_id }) => kind === 'illegal_move' && about_id === goal))
    })

    it('takes a child that comes before its case', async () => {
      const one = await replica(ana, { tables: ['notes'] })
      const [two, id] = [await replica(ana, { tables: ['cases'] }), `case-of-${kind}-1`]
      const note = await one.creates('notes', { case_id: id, kind: 'progress', body: 'Here first' })
      one.starts()
      await one.syncs()
      await two.creates('cases', { id, unit: 'individual', summary: 'Here second' })
      two.starts()
      await two.syncs()
      const three = await synced(ana)
      assert.equal((await three.row('notes', note)).body, 'Here first')
      const [issue] = (await three.rows('sync_issues')).filter(({ about_id }) => about_id === note)
      assert.equal(issue.status, 'accepted')
    })

    it('hands over what was not sent before a device that was reported lost erases itself', async () => {
      const [one, two] = [await synced(ana), await synced(ana)]
      const made = await aCase(one)
      await one.syncs()
      const draft = await one.creates('notes', { case_id: made.id, kind: 'progress', body: 'To be thrown away' })
      await one.syncs()
      await one.syncs()
      await two.syncs()
      one.online = false
      const visit = Date.UTC(2026, 9, 2, 15, 30)
      const note = await one.creates('notes', {
        ...{ case_id: made.id, kind: 'progress', body: 'A visit nobody knows of' },
        occurred_at: new Date(visit).toISOString(),
      })
      await one.edits('goals', made.goal, { why_it_matters: 'Words nobody has yet' })
      await one.deletes('notes', draft)
      await ana.post(`/devices/${one.person.deviceId}/wipe`, {})
      const asked = one.asked.length
      one.online = true
      await until('it erases itself', () => one.erased)
      assert.equal(one.asked.slice(asked).filter((path) => path === '/sync/farewell').length, 1)
      await two.syncs()
      await two.syncs()
      const lost = [note, made.goal, draft]
      const issues = (await two.rows('sync_issues')).filter(({ about_id }) => lost.includes(about_id))
      assert.deepEqual(issues.map(({ kind, about_id }) => `${kind} ${about_id}`).sort(), lost.map((id) => `quarantined ${id}`).sort())
      const work = Object.fromEntries(
        await Promise.all(issues.map(async ({ id, about_id }) => [about_id, (await ana.get(`/sync_issues/${id}/work`)).sent])),
      )
      assert.equal(work[note].body, 'A visit nobody knows of')
      assert.equal(work[made.goal].why_it_matters, 'Words nobody has yet')
      const issue = issues.find(({ about_id }) => about_id === note)
      await ana.post(`/sync_issues/${issue.id}/accept`, { reason: 'It was me' })
      await two.syncs()
      assert.equal(Date.parse((await two.row('notes', note)).occurred_at), visit, 'in the words of a push')
      assert.equal((await two.row('goals', made.goal)).why_it_matters, null, 'nothing is applied by itself')
    })

    for (const [how, slow] of [['fails', false], ['is slow', true]]) {
      it(`is erased only after the farewell has arrived, where the network ${how}`, async () => {
        const one = await synced(ana)
        one.slow = slow
        const made = await aCase(one)
        one.online = false
        const notes = []
        for (const body of ['A second chance', 'And a third', 'And a fourth']) {
          notes.push(await one.creates('notes', { case_id: made.id, kind: 'progress', body }))
        }
        await ana.post(`/devices/${one.person.deviceId}/wipe`, {})
        one.failing = 2
        one.most = 1
        one.online = true
        await until('it erases itself', () => one.erased)
        assert.equal(one.failing, 0)
        const two = await synced(ana)
        const told = (await two.rows('sync_issues')).map(({ about_id }) => about_id)
        assert.deepEqual(notes.filter((note) => !told.includes(note)), [], 'each is told')
      })
    }

    it('leaves collections of the app’s own alone', async () => {
      const one = await replica(ana)
      const schema = { version: 0, primaryKey: 'id', type: 'object', properties: { id: { type: 'string', maxLength: 64 } } }
      await one.database.addCollections({ settings: { schema } })
      await one.creates('settings', { id: 'dark-mode' })
      one.starts()
      const made = await aCase(one)
      assert.equal(one.times(/settings/), 0)
      assert.ok(await one.row('settings', 'dark-mode'))
      assert.ok(await ana.get(`/cases/${made.id}`))
    })

    it('sends what a row names before the row, though requests get lost', async () => {
      const one = await replica(ana, { tables: ['cases', 'contacts', 'notes'] })
      let losing = 2
      one.starts({
        request: (path, options) => {
          if (!/contacts\/push/.test(path) || losing-- <= 0) return one.request(path, options)
          throw new Error('the request was lost')
        },
      })
      await one.syncs()
      const id = await one.creates('cases', { unit: 'family', summary: 'A family of four' })
      const visit = { case_id: id, kind: 'home_visit', status: 'planned', planned_start: new Date(Date.now() + 8.64e7).toISOString() }
      const contact = await one.creates('contacts', visit)
      const note = await one.creates('notes', { case_id: id, contact_id: contact, kind: 'progress', body: 'To be asked' })
      const other = await one.creates('notes', { case_id: id, kind: 'progress', body: 'Names no visit' })
      await one.syncs()
      assert.ok(losing <= 0)
      assert.equal((await ana.get(`/notes/${note}`)).contact_id, contact)
      assert.equal((await ana.get(`/notes/${other}`)).contact_id, null)
      await one.syncs()
      assert.equal((await one.row('notes', note)).contact_id, contact)
    })

    it('sends a rating before the goal that is completed on it, though requests get lost', async () => {
      const { id: person } = await ana.post('/persons', { given_name: 'Noor' })
      const { id } = await ana.post('/cases', { summary: 'Draws well' })
      await ana.post('/case_parties', { case_id: id, person_id: person })
      await ana.post(`/cases/${id}/status`, { to: 'active' })
      const day = (offset) => new Date(Date.now() + offset * 8.64e7).toISOString().slice(0, 10)
      const { id: goal } = await ana.post('/goals', {
        ...{ case_id: id, person_id: person, statement: 'Walk to the market twice a week', measure: 'walks a week' },
        ...{ unit: 'walks', baseline_value: 0, target_value: 2, confidence: 7, strengths: ['knows the stallholders'] },
        ...{ why_it_matters: 'I want to see people again', starts_on: day(-1), due_on: day(60) },
        client_agreement: { by: 'client', on: day(-1), how: 'spoken', words: 'yes' },
      })
      await ana.post(`/goals/${goal}/agree`, {})
      const one = await replica(ana, { tables: ['goals', 'goal_ratings'] })
      let losing = 2
      one.starts({
        request: (path, options) => {
          if (!/goal_ratings\/push/.test(path) || losing-- <= 0) return one.request(path, options)
          throw new Error('the request was lost')
        },
      })
      await one.syncs()
      one.online = false
      await one.edits('goals', goal, { lifecycle: 'completed', achievement: 'achieved' })
      const step = { case_id: id, level: 'individual', statement: 'Ride the bus' }
      const next = await one.creates('goals', step)
      const rating = (of) => ({ case_id: id, goal_id: of, rated_on: day(0), level: 1, rater: 'joint' })
      await one.creates('goal_ratings', rating(goal))
      await one.creates('goal_ratings', rating(next))
      one.online = true
      await one.syncs()
      assert.ok(losing <= 0)
      assert.equal((await ana.get(`/goals/${goal}`)).lifecycle, 'completed')
      assert.equal((await ana.get(`/goal_ratings?goal_id=${next}`)).items.length, 1)
    })

    it('pushes in parts what is too much at once', async () => {
      const one = await replica(ana, { tables: ['cases', 'notes'] })
      one.starts({
        request: (path, options) => {
          if (!/push/.test(path) || JSON.parse(options.body).length <= 2) return one.request(path, options)
          return Response.json({ code: 'too_large' }, { status: 413 })
        },
      })
      const id = await one.creates('cases', { unit: 'family', summary: 'A family of four' })
      const notes = [1, 2, 3, 4, 5, 6, 7].map((at) => ({ id: `part-${kind}-${at}`, case_id: id, kind: 'progress', body: 'Long' }))
      await one.collection('notes').bulkInsert(notes)
      await one.syncs()
      const { items } = await ana.get(`/notes?case_id=${id}`)
      assert.deepEqual(items.map((note) => note.id).sort(), notes.map((note) => note.id))
    })

    it('comes back when the server says, and not before', async () => {
      const one = await replica(ana)
      const asked = []
      let [refuses, calls] = [false, 0]
      one.starts({
        request: async (path, options) => {
          if (path === '/sync/live') return Response.json({}, { status: 503, headers: { 'retry-after': '60' } })
          asked.push(Date.now())
          calls += 1
          if (refuses) {
            refuses = false
            return Response.json({ code: 'busy' }, { status: 503, headers: { 'retry-after': '1' } })
          }
          const response = await one.request(path, options)
          const headers = new Headers(response.headers)
          headers.set('sync-after', '1')
          return new Response(response.body, { status: response.status, headers })
        },
      })
      await one.syncs()
      const before = calls
      await until('it comes again by itself', () => calls > before)
      await one.syncs()
      refuses = true
      asked.length = 0
      await one.syncs()
      // The other tables were on their way already.
      const waited = asked.map((at) => at - asked[0]).filter((ms) => ms > 100)
      assert.ok(waited[0] >= 900, `asked again after ${waited[0]} ms`)
    })

    it('hears a poke that comes in two parts, and opens the stream again when it says', async () => {
      const one = await replica(ana)
      const opened = []
      one.starts({
        request: (path, options) => {
          if (path !== '/sync/live') return one.request(path, options)
          opened.push(Date.now())
          const parts = opened.length === 1 ? ['event: po', 'ke\ndata: {"head": 1}\nret', 'ry: 400\n\n'] : []
          const body = new ReadableStream({
            async start(stream) {
              for (const part of parts) {
                await wait(50)
                stream.enqueue(new TextEncoder().encode(part))
              }
              stream.close()
            },
          })
          return new Response(body)
        },
      })
      await one.syncs()
      const pulls = one.times(/pull/)
      await until('it pulls', () => one.times(/pull/) > pulls)
      await until('it listens again', () => opened.length > 2)
      assert.ok(opened[2] - opened[1] >= 390, `opened again after ${opened[2] - opened[1]} ms`)
    })

    it('gives back to a restored server what it lost', async () => {
      const one = await synced(ana)
      const made = await aCase(one, 'Before the backup')
      await one.syncs()
      await world.backsUp()
      await one.edits('goals', made.goal, { measure: 'set after the backup' })
      const late = await aCase(one, 'After the backup')
      await one.syncs()
      one.online = false
      const unsent = await one.creates('notes', { case_id: late.id, kind: 'progress', body: 'Not sent yet' })
      await one.edits('goals', late.goal, { unit: 'months' })
      await world.restores()
      await one.person.logsIn()
      one.most = 3 // rows of an offer that the server takes at once
      one.online = true
      await one.syncs()
      await one.syncs()
      const fresh = await synced(ana)
      assert.equal((await fresh.row('goals', made.goal)).measure, 'set after the backup')
      assert.equal((await fresh.row('cases', late.id)).summary, 'After the backup')
      assert.equal((await fresh.row('notes', late.note)).body, 'All well')
      assert.equal((await fresh.row('notes', unsent)).body, 'Not sent yet')
      assert.equal((await fresh.row('goals', late.goal)).unit, 'months')
      await one.syncs()
      for (const table of ['cases', 'goals', 'notes', 'sync_issues']) {
        const sorted = async (device) => (await device.rows(table)).sort((a, b) => (a.id < b.id ? -1 : 1))
        assert.deepEqual(await sorted(one), await sorted(fresh), table)
      }
      assert.ok((await one.rows('sync_issues')).some(({ kind }) => kind === 'restored'))
      const salvages = one.times(/salvage/)
      assert.ok(salvages >= 1)
      await one.syncs()
      assert.equal(one.times(/salvage/), salvages, 'once')
      await isAtRest(one, /push/)
    })

    it('offers a restored server what it holds before it pushes what was typed', async () => {
      sam = await world.person(sam.email)
      await world.backsUp()
      const bens = await synced(ben, { tables: ['cases', 'case_assignments'] })
      const id = await bens.creates('cases', { unit: 'family', summary: "Ben's case", risk: 'elevated' })
      await bens.syncs()
      await bens.syncs()
      await sam.post(`/cases/${id}/assignments`, { user_id: ana.user.id, role: 'secondary', reason: 'Helps' })
      const one = await synced(ana, { tables: ['cases', 'case_assignments', 'goals'] })
      one.online = false
      await one.edits('cases', id, { summary: "Ben's case, and what Ana adds" })
      await world.restores()
      for (const device of [one, bens]) await device.person.logsIn()
      // Its push comes first.
      let release
      const pushed = new Promise((resolve) => (release = resolve))
      one.before = async (path) => {
        if (path.includes('/push')) setTimeout(release, 100)
        else if (path.includes('/pull')) await pushed
      }
      one.asked.length = 0
      one.online = true
      await one.syncs()
      assert.match(one.asked.find((path) => !/live|pull/.test(path)), /push/)
      assert.ok(one.times(/salvage/) >= 1)
      for (const device of [bens, one, bens]) await device.syncs()
      for (const device of [one, bens]) {
        const { summary, risk } = await device.row('cases', id)
        assert.deepEqual([summary, risk], ["Ben's case, and what Ana adds", 'elevated'])
        const primary = (await device.rows('case_assignments')).filter((row) => row.case_id === id && row.role === 'primary')
        assert.deepEqual(primary.map(({ user_id }) => user_id), [ben.user.id], "it is Ben's as it was")
      }
      await isAtRest(one, /push/)
    })

    it('drops every row of somebody who may see them no more, and hands over what was typed', async () => {
      const ada = await world.person('ada@demo.example')
      sam = await world.person(sam.email)
      const one = await synced(ben)
      const made = await aCase(one)
      await one.syncs()
      one.online = false
      await one.edits('goals', made.goal, { measure: 'Typed before Ben was an auditor' })
      await ada.patch(`/users/${ben.user.id}`, { role: 'auditor' })
      await one.person.logsIn()
      one.online = true
      await one.syncs()
      for (const table of ['cases', 'goals', 'notes']) await until(`${table} go`, async () => (await one.ids(table)).length === 0)
      await isAtRest(one, /push/)
      const { items } = await sam.get('/sync_issues?limit=200')
      const issue = items.find(({ about_id, kind }) => about_id === made.goal && kind === 'quarantined')
      assert.match(JSON.stringify(await sam.get(`/sync_issues/${issue.id}/work`)), /Typed before Ben was an auditor/)
      await ada.patch(`/users/${ben.user.id}`, { role: 'caseworker' })
    })

    it('puts a device right whose checkpoint is of no use any more', async () => {
      const one = await replica(ana)
      let spoils = false
      one.starts({
        request: async (path, options) => {
          if (path.includes('push')) return Response.json([]) // a row that the server never had counts as synced
          return one.request(spoils ? path.replace(/cursor=[^&]*/, 'cursor=spoiled') : path, options)
        },
      })
      await one.syncs()
      const held = await one.ids('cases')
      await one.creates('notes', { id: 'note-of-nobody', case_id: 'nobodys-case', body: 'left over' })
      await one.syncs()
      assert.ok(await one.row('notes', 'note-of-nobody'))
      spoils = true
      await one.syncs()
      assert.deepEqual(await one.ids('cases'), held)
      await until('the stray leaves', async () => !(await one.row('notes', 'note-of-nobody')))
    })
  })
}
