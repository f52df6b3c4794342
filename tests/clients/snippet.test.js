// The snippet that docs/sync.md hands to app teams, as it is, against the real binary.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, describe, it } from 'node:test'

import { fieldstoneSync } from '../../docs/snippets/watermelondb.mjs'
import { refusesMoreThan } from './rig/person.js'
import { World } from './rig/world.js'

const require = createRequire(import.meta.url)
const { Q } = require('@nozbe/watermelondb')
const { hasUnsyncedChanges, synchronize } = require('@nozbe/watermelondb/sync')

for (const kind of ['sqlite', 'postgres']) {
  describe(`the published snippet on ${kind}`, () => {
    let world, ana, ben, sam, described

    before(async () => {
      world = await World.open(kind)
      ;[ana, ben, sam] = await Promise.all(['ana', 'ben', 'sam'].map((name) => world.person(`${name}@demo.example`)))
      described = await ana.get('/sync/schema')
    })
    after(() => world?.close())

    // `network.loses` makes the answer of the next push get lost on its way; `network.fails` makes as many farewells fail;
    // `network.most` is how many rows the server takes at once; `network.before` happens before a request goes out, and
    // `network.pulled` when the snippet has pulled. Where it is `slow`, what fails is answered 408.
    const syncing = (phone, network = {}) =>
      fieldstoneSync({
        database: phone.database,
        request: async (path, options) => {
          await network.before?.(path, options)
          const large = refusesMoreThan(network.most ?? Infinity, path, options)
          const response = large ?? (await phone.person.fetch(path, options))
          if (!network.loses || !options?.body) return response
          network.loses = false
          throw new Error('the answer was lost')
        },
        lastRequest: (path, options) => {
          if (network.fails > 0) {
            network.fails -= 1
            if (network.slow) return Response.json({ code: 'body_too_slow' }, { status: 408 })
            throw new Error('the network failed')
          }
          const large = refusesMoreThan(network.most ?? Infinity, path, options)
          return large ?? phone.person.lastFetch(path, options)
        },
        erase: () => phone.database.write(() => phone.database.unsafeResetDatabase()),
        appVersion: '2.0.1',
        synchronize: (options) =>
          synchronize({
            ...options,
            pullChanges: async (state) => {
              const page = await options.pullChanges(state)
              await network.pulled?.()
              return page
            },
          }),
        ...{ Q, hasUnsyncedChanges },
      })

    it('keeps an unsent note when its case is handed over', async () => {
      const [phone, bens] = [await world.phone(ana), await world.phone(ben)]
      const [sync, bensSync] = [syncing(phone), syncing(bens)]
      await sync()
      const id = await phone.creates('cases', { unit: 'individual', summary: 'One of many' })
      await Promise.all([sync(), sync()])
      const note = await phone.creates('notes', { case_id: id, kind: 'progress', body: 'Sent in time' })
      await sync()
      await phone.creates('notes', { case_id: id, kind: 'progress', body: 'Words nobody has yet' })
      await phone.edits('notes', note, { body: 'Sent in time, and corrected offline' })
      await sam.post(`/cases/${id}/assignments`, { user_id: ben.user.id, role: 'primary', reason: 'Ana goes on leave' })
      await sync()
      await sync()
      assert.deepEqual(await phone.ids('cases'), [])
      assert.equal(await phone.hasUnsyncedChanges(), false)
      assert.ok(sync.after >= 225 && sync.after <= 375, `${sync.after} s`)
      await bensSync()
      assert.deepEqual(await bens.ids('cases'), [id])
      const issues = Object.values((await bens.everything()).sync_issues)
      const kept = await Promise.all(
        issues.filter((issue) => issue.kind === 'quarantined').map((issue) => ben.get(`/sync_issues/${issue.id}/work`)),
      )
      const words = JSON.stringify(kept) + JSON.stringify((await bens.everything()).notes)
      assert.match(words, /Words nobody has yet/)
      assert.match(words, /corrected offline/)
    })

    it('does not undo with a repeated push what was changed since', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const network = {}
      const [first, second] = [syncing(one, network), syncing(two)]
      await first()
      const id = await one.creates('cases', { unit: 'individual', summary: 'A weak signal' })
      const goal = await one.creates('goals', { case_id: id, level: 'individual', statement: 'Swim' })
      await first()
      await second()
      await one.edits('goals', goal, { measure: 'lengths' })
      network.loses = true
      await assert.rejects(first(), /lost/)
      await second()
      await two.edits('goals', goal, { measure: 'minutes' })
      await second()
      await first()
      await first()
      await second()
      assert.equal((await one.row('goals', goal)).measure, 'minutes')
      assert.deepEqual(await one.everything(), await two.everything())
    })

    it('merges two edits of one row after a conflict', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const [first, second] = [syncing(one), syncing(two)]
      await first()
      const id = await one.creates('cases', { unit: 'individual', summary: 'Two phones' })
      const goal = await one.creates('goals', { case_id: id, level: 'individual', statement: 'Walk every day' })
      await first()
      await second()
      await one.edits('goals', goal, { measure: 'steps' })
      await two.edits('goals', goal, { measure: 'minutes', unit: 'a day' })
      await first()
      await second()
      await first()
      await second()
      const issues = Object.values((await one.everything()).sync_issues ?? {})
      assert.deepEqual(issues.filter((issue) => [id, goal].includes(issue.about_id)), [], 'nothing was wrong')
      const row = await one.row('goals', goal)
      assert.deepEqual([row.measure, row.unit], ['minutes', 'a day'])
      assert.deepEqual(await one.everything(), await two.everything())
    })

    it('hands over what was not sent before a phone that was reported lost erases itself', async () => {
      const [phone, other, network] = [await world.phone(ana), await world.phone(ana), { fails: 1, most: 1 }]
      const [sync, otherSync] = [syncing(phone, network), syncing(other)]
      await sync()
      const id = await phone.creates('cases', { unit: 'individual', summary: 'A lost phone' })
      const goal = await phone.creates('goals', { case_id: id, level: 'individual', statement: 'Walk every day' })
      const draft = await phone.creates('notes', { case_id: id, kind: 'progress', body: 'To be thrown away' })
      await sync()
      await sync()
      const note = await phone.creates('notes', { case_id: id, kind: 'progress', body: 'A visit nobody knows of' })
      await phone.edits('goals', goal, { measure: 'Words nobody has yet' })
      await phone.deletes('notes', draft)
      await ana.post(`/devices/${phone.person.deviceId}/wipe`, {})
      await assert.rejects(sync(), /network failed/)
      assert.ok(await phone.row('notes', note), 'nothing is erased before the farewell has arrived')
      Object.assign(network, { slow: true, fails: 9 })
      await assert.rejects(sync(), { status: 408 })
      assert.ok(await phone.row('notes', note), 'nor where it is too slow')
      network.fails = 0
      await assert.rejects(sync(), { code: 'device_wiped' })
      assert.deepEqual(await phone.counts(), {})
      assert.equal(await phone.hasUnsyncedChanges(), false)
      await otherSync()
      const all = await other.everything()
      const lost = [note, goal, draft]
      const issues = Object.values(all.sync_issues).filter(({ about_id }) => lost.includes(about_id))
      assert.deepEqual(issues.map(({ kind, about_id }) => `${kind} ${about_id}`).sort(), lost.map((id) => `quarantined ${id}`).sort())
      const kept = await Promise.all(issues.map((issue) => ana.get(`/sync_issues/${issue.id}/work`)))
      assert.match(JSON.stringify(kept), /A visit nobody knows of/)
      assert.match(JSON.stringify(kept), /Words nobody has yet/)
      assert.deepEqual([all.notes[note], all.goals[goal].measure], [undefined, null], 'nothing is applied by itself')
      assert.ok(all.notes[draft], 'nor deleted')
    })

    it('keeps what is typed while it uploads what a reply takes away', async () => {
      const [phone, network] = [await world.phone(ana), {}]
      const sync = syncing(phone, network)
      await sync()
      const id = await phone.creates('cases', { unit: 'individual', summary: 'Typed in a hurry' })
      const note = await phone.creates('notes', { case_id: id, kind: 'progress', body: 'One' })
      await sync()
      await sync()
      await phone.edits('notes', note, { body: 'One, two' })
      const reason = 'Ana goes on leave'
      await sam.post(`/cases/${id}/assignments`, { user_id: ben.user.id, role: 'primary', reason, immediate: true })
      let uploads = 0
      network.before = async (path) => {
        if (!path.startsWith('/sync/quarantine') || ++uploads > 1) return
        await phone.edits('notes', note, { body: 'One, two, three' })
        await phone.creates('notes', { case_id: id, kind: 'progress', body: 'A new one' })
      }
      // And once more, when the reply is about to be applied.
      network.pulled = async () => {
        if (uploads === 0) return
        network.pulled = undefined
        await phone.edits('notes', note, { body: 'One, two, three, four' })
      }
      await assert.rejects(sync(), /somebody typed/)
      assert.equal((await phone.row('notes', note)).body, 'One, two, three, four')
      await sync()
      await sync()
      assert.equal(await phone.row('notes', note), undefined)
      assert.equal(await phone.hasUnsyncedChanges(), false)
      const { items } = await ben.get('/sync_issues?limit=200')
      const kept = items.filter(({ case_id, kind }) => case_id === id && kind === 'quarantined')
      const work = await Promise.all(kept.map((issue) => ben.get(`/sync_issues/${issue.id}/work`)))
      const words = work.map(({ sent }) => sent.body)
      for (const typed of ['One, two, three', 'One, two, three, four', 'A new one']) assert.ok(words.includes(typed), typed)
    })

    // Many rows at once, as an import of the app's own makes them.
    async function makesMany(phone, table, count, columns) {
      const { database } = phone
      const set = (row) => {
        for (const [name, value] of Object.entries(columns)) row._setRaw(name, value)
      }
      await database.write(() =>
        database.batch(Array.from({ length: count }, () => database.get(table).prepareCreate(set))),
      )
    }

    for (const [what, count, body] of [
      ['more rows than one push may hold', 5001, 'Short'],
      ['more text than one push may hold', 900, 'x'.repeat(19_900)],
    ]) {
      it(`sends ${what} in parts`, async () => {
        const phone = await world.phone(ben)
        const asked = []
        const sync = syncing(phone, { before: (path, options) => options?.body && asked.push(path) })
        await sync()
        const id = await phone.creates('cases', { unit: 'individual', summary: 'Months without a network' })
        await makesMany(phone, 'notes', count, { case_id: id, kind: 'progress', body })
        await sync()
        assert.equal(await phone.hasUnsyncedChanges(), false)
        assert.equal(asked.length, 3, 'the whole, and two halves')
        const numbers = asked.map((path) => Number(new URLSearchParams(path.split('?')[1]).get('push')))
        assert.deepEqual([...new Set(numbers)].sort((a, b) => a - b), numbers, 'each with a number of its own')
        await sync()
        const issues = Object.values((await phone.everything()).sync_issues ?? {})
        assert.deepEqual(issues.filter(({ case_id }) => case_id === id), [])
        const { cases } = await ben.get('/sync/digest?scope=case')
        assert.equal(cases.find(({ case_id }) => case_id === id).tables.notes.rows, count)
      })
    }

    it('repeats parts that were stored, after a conflict in a later one, and undoes nothing', async () => {
      const [one, two] = [await world.phone(ana), await world.phone(ana)]
      const network = {}
      const [first, second] = [syncing(one, network), syncing(two)]
      await first()
      const id = await one.creates('cases', { unit: 'individual', summary: 'In parts' })
      const goals = []
      for (const statement of ['Walk', 'Swim']) {
        goals.push(await one.creates('goals', { case_id: id, level: 'individual', statement }))
      }
      await first()
      await first()
      await second()
      const note = await one.creates('notes', { case_id: id, kind: 'progress', body: 'Said once' })
      for (const goal of goals) await one.edits('goals', goal, { measure: 'ours' })
      // The note and one goal are stored by themselves. Then a colleague changes both goals.
      let parts = 0
      network.most = 1
      let late
      network.before = async (path, options) => {
        const lists = Object.values(options?.body ? JSON.parse(options.body) : {})
        const rows = lists.flatMap(({ created, updated }) => [...created, ...updated])
        if (rows.length !== 1 || ++parts !== 3) return
        late = rows[0].id
        await second()
        for (const goal of goals) await two.edits('goals', goal, { measure: 'theirs' })
        await second()
      }
      await first()
      assert.equal(parts, 6, 'three parts, a conflict in the last, and all of them again')
      await first()
      await second()
      for (const phone of [one, two]) {
        assert.equal((await phone.row('notes', note)).body, 'Said once')
        for (const goal of goals) assert.equal((await phone.row('goals', goal)).measure, goal === late ? 'ours' : 'theirs')
      }
      assert.deepEqual(await one.everything(), await two.everything())
    })

    // An app that declares some of the tables.
    function smallApp() {
      const tables = described.tables.filter(({ name }) => ['cases', 'goals', 'notes', 'sync_issues'].includes(name))
      return world.phone(ana, { described: { ...described, tables } })
    }

    it('keeps what is unsent when a case is lost to an app with few tables', async () => {
      const phone = await smallApp()
      const sync = syncing(phone)
      await sync()
      const id = await phone.creates('cases', { unit: 'individual', summary: 'A small app' })
      const goal = await phone.creates('goals', { case_id: id, level: 'individual', statement: 'Walk every day' })
      await sync()
      await sync()
      await phone.edits('goals', goal, { measure: 'Words nobody has yet' })
      const reason = 'Ana goes on leave'
      await sam.post(`/cases/${id}/assignments`, { user_id: ben.user.id, role: 'primary', reason, immediate: true })
      await sync()
      assert.equal(await phone.row('cases', id), undefined)
      const { items } = await ben.get('/sync_issues')
      const issue = items.find(({ about_id }) => about_id === goal)
      assert.match(JSON.stringify(await ben.get(`/sync_issues/${issue.id}/work`)), /Words nobody has yet/)
    })

    it('tells the server which app it is and what its clock says', async () => {
      const phone = await world.phone(ana)
      await syncing(phone)()
      let own
      for (let tries = 0; tries < 200 && !own?.app_version; tries++) {
        const { items } = await ana.get('/devices')
        own = items.find(({ id }) => id === phone.person.deviceId)
      }
      assert.equal(own.app_version, '2.0.1')
      assert.ok(Math.abs(own.clock_skew_seconds) < 60)
    })

    for (const [app, opens] of [
      ['', () => world.phone(ana)],
      [' from an app with few tables', smallApp],
    ]) {
      it(`gives back to a restored server what it lost${app}`, async () => {
        const one = await opens()
        const sync = syncing(one, { most: 3 })
        await sync()
        const id = await one.creates('cases', { unit: 'individual', summary: 'Before the backup' })
        const goal = await one.creates('goals', { case_id: id, level: 'individual', statement: 'Known' })
        await sync()
        await world.backsUp()
        await one.edits('goals', goal, { measure: 'set after the backup' })
        const note = await one.creates('notes', { case_id: id, kind: 'progress', body: 'Synced after the backup' })
        await sync()
        await sync()
        const unsent = await one.creates('notes', { case_id: id, kind: 'progress', body: 'Not sent yet' })
        await world.restores()
        await one.person.logsIn()
        await sync()
        await sync()
        const fresh = await opens()
        await syncing(fresh)()
        assert.equal((await fresh.row('goals', goal)).measure, 'set after the backup')
        assert.deepEqual((await fresh.ids('notes')).filter((one) => [note, unsent].includes(one)).length, 2)
        assert.deepEqual(await one.everything(), await fresh.everything())
        const kinds = Object.values((await one.everything()).sync_issues).map((issue) => issue.kind)
        assert.ok(kinds.includes('restored'))
      })
    }

    it('gives back to a server that is restored between its pull and its push what that lost', async () => {
      const [phone, bens, network] = [await world.phone(ana), await world.phone(ben), {}]
      const [sync, bensSync] = [syncing(phone, network), syncing(bens)]
      sam = await world.person(sam.email)
      await sync()
      await bensSync()
      await world.backsUp()
      const id = await bens.creates('cases', { unit: 'individual', summary: "Ben's case", risk: 'elevated' })
      await bensSync()
      await bensSync()
      await sam.post(`/cases/${id}/assignments`, { user_id: ana.user.id, role: 'secondary', reason: 'Helps' })
      await sync()
      await phone.edits('cases', id, { summary: "Ben's case, and what Ana adds" })
      network.before = async (path, options) => {
        if (!options?.body || !path.startsWith('/sync?')) return
        network.before = undefined
        await world.restores()
        await phone.person.logsIn()
      }
      await sync()
      await sync()
      await bens.person.logsIn()
      for (const again of [bensSync, bensSync, sync]) await again()
      for (const one of [phone, bens]) {
        const { summary, risk } = await one.row('cases', id)
        assert.deepEqual([summary, risk], ["Ben's case, and what Ana adds", 'elevated'])
        const assigned = Object.values((await one.everything()).case_assignments).filter(({ case_id }) => case_id === id)
        const primary = assigned.filter(({ role }) => role === 'primary')
        assert.deepEqual(primary.map(({ user_id }) => user_id), [ben.user.id], "it is Ben's as it was")
      }
    })
  })
}
